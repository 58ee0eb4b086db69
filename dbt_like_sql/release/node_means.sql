-- Grain: one row per year and node of the DEI: the mean over the ranked cities.
with
nodes as (select * from index.dei_scores),

ranks as (select * from index.dei_ranks where ranked),

framework as (select * from core.framework where index_id = 'dei'),

final as (
    select
        nodes.year,
        nodes.node_id,
        framework.name_zh,
        framework.name_en,
        nodes.level,
        avg(nodes.score) as mean_score,
        count(nodes.score) as cities
    from nodes
    inner join ranks on nodes.year = ranks.year and nodes.region_code = ranks.region_code
    inner join framework on nodes.node_id = framework.node_id
    where nodes.score is not null
    group by nodes.year, nodes.node_id, framework.name_zh, framework.name_en, nodes.level
)

select * from final
