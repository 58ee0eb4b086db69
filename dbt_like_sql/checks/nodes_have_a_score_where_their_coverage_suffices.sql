with
scores as (select * from index.dei_scores),

editions as (select * from core.editions where index_id = 'dei'),

inner_nodes as (select * from core.framework where index_id = 'dei' and kind = 'aggregate'),

compared as (
    select
        scores.region_code,
        scores.year,
        scores.node_id,
        scores.score,
        scores.coverage,
        scores.coverage > 0 and scores.coverage >= editions.min_coverage - 1e-12 as suffices
    from scores
    inner join inner_nodes on scores.node_id = inner_nodes.node_id
    inner join editions on inner_nodes.edition = editions.edition
),

final as (
    select compared.*
    from compared
    where compared.suffices <> (compared.score is not null)
)

select * from final
