-- Grain: one row per year, node (the composite or a dimension) and city among its first.
with
node_ranks as (select * from index.deci_node_ranks),

framework as (select * from core.framework where index_id = 'deci'),

editions as (select * from core.editions where index_id = 'deci'),

regions as (select * from mart.regions),

final as (
    select
        node_ranks.year,
        node_ranks.node_id,
        node_ranks.region_code,
        node_ranks.rank,
        framework.name_zh as node_name_zh,
        framework.name_en as node_name_en,
        regions.short_name_zh as region_name,
        regions.name_en as region_name_en,
        round(cast(node_ranks.score as decimal(18, 9)), 1)::double as score,
        node_ranks.level,
        regions.province_code
    from node_ranks
    inner join framework on node_ranks.node_id = framework.node_id
    inner join editions on framework.edition = editions.edition
    inner join regions on node_ranks.year = regions.year and node_ranks.region_code = regions.region_code
    where (node_ranks.level = 0 and node_ranks.rank <= editions.leaders_composite)
        or (node_ranks.level = 1 and node_ranks.rank <= editions.leaders_dimensions)
)

select * from final
