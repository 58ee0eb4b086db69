-- Grain: one row per index, edition and leaf of its framework.
with
framework as (select * from core.framework),

parents as (select * from core.framework),

final as (
    select
        framework.index_id,
        framework.edition,
        framework.node_id as indicator_id,
        framework.name_zh,
        framework.name_en,
        parents.node_id as parent_id,
        parents.name_zh as parent_name_zh,
        framework.global_weight,
        framework.unit,
        framework.kind
    from framework
    inner join parents
        on framework.index_id = parents.index_id
        and framework.edition = parents.edition
        and framework.parent_id = parents.node_id
    where framework.kind <> 'aggregate'
)

select * from final
