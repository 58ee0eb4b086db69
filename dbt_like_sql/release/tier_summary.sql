-- Grain: one row per year, basis and tier.
with
scores as (select * from index.dei_city_scores),

tiers as (select * from core.tiers where index_id = 'dei'),

final as (
    select
        scores.year,
        scores.tier_id,
        scores.basis,
        tiers.name_zh,
        tiers.name_en,
        count(*) as cities,
        avg(scores.score) as mean_score,
        avg(scores.scale) as mean_scale,
        count(scores.scale) as cities_with_scale
    from scores
    inner join tiers on scores.tier_id = tiers.tier_id
    group by scores.year, scores.tier_id, scores.basis, tiers.name_zh, tiers.name_en
)

select * from final
