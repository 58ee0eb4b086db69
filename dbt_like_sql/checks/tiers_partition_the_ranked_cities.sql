with
ranks as (select * from index.dei_ranks where ranked),

tiers as (select * from core.tiers where index_id = 'dei'),

tiered as (select distinct tiers.index_id from tiers),

final as (
    select ranks.region_code, ranks.year, ranks.score_published, ranks.tier_id
    from ranks
    inner join tiered on tiered.index_id = 'dei'
    left join tiers
        on (tiers.lower is null or ranks.score_published >= tiers.lower)
        and (tiers.upper is null or ranks.score_published < tiers.upper)
    group by ranks.region_code, ranks.year, ranks.score_published, ranks.tier_id
    having count(tiers.tier_id) <> 1 or ranks.tier_id is null or max(tiers.tier_id) <> ranks.tier_id
)

select * from final
