-- Grain: one row per year and ranked city.
with
ranks as (select * from index.dei_ranks),

nodes as (select * from index.dei_scores),

regions as (select * from mart.regions),

tiers as (select * from core.tiers),

sub_scores as (
    select
        nodes.region_code,
        nodes.year,
        max(case when nodes.node_id = 'data_info_infrastructure' then nodes.score end) as data_info_infrastructure,
        max(case when nodes.node_id = 'city_service' then nodes.score end) as city_service,
        max(case when nodes.node_id = 'city_governance' then nodes.score end) as city_governance,
        max(case when nodes.node_id = 'industry_fusion' then nodes.score end) as industry_fusion
    from nodes
    where nodes.level = 1
    group by nodes.region_code, nodes.year
),

final as (
    select
        ranks.year,
        ranks.region_code,
        ranks.rank,
        regions.short_name_zh as region_name,
        regions.name_en as region_name_en,
        regions.province_name,
        ranks.score_published as score,
        ranks.tier_id as tier,
        tiers.name_zh as tier_name_zh,
        round(cast(sub_scores.data_info_infrastructure as decimal(18, 9)), 1)::double as data_info_infrastructure,
        round(cast(sub_scores.city_service as decimal(18, 9)), 1)::double as city_service,
        round(cast(sub_scores.city_governance as decimal(18, 9)), 1)::double as city_governance,
        round(cast(sub_scores.industry_fusion as decimal(18, 9)), 1)::double as industry_fusion,
        ranks.coverage,
        ranks.imputed_weight,
        ranks.badge
    from ranks
    inner join regions on ranks.year = regions.year and ranks.region_code = regions.region_code
    inner join sub_scores on ranks.year = sub_scores.year and ranks.region_code = sub_scores.region_code
    inner join tiers on tiers.index_id = 'dei' and ranks.tier_id = tiers.tier_id
    where ranks.ranked
)

select * from final
