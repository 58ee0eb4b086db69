with
scores as (select * from index.dei_scores),

means as (select * from core.framework where index_id = 'dei' and aggregation <> 'copeland'),

bounds as (
    select
        scores.region_code,
        scores.year,
        scores.parent_id,
        min(scores.score) as lowest,
        max(scores.score) as highest
    from scores
    where scores.score is not null
    group by scores.region_code, scores.year, scores.parent_id
),

compared as (
    select
        scores.region_code,
        scores.year,
        scores.node_id,
        scores.score,
        bounds.lowest,
        case
            when means.aggregation = 'arithmetic' then bounds.highest
            else greatest(bounds.highest, 1e-6)
        end as highest
    from scores
    inner join means on scores.node_id = means.node_id
    inner join bounds
        on scores.region_code = bounds.region_code
        and scores.year = bounds.year
        and scores.node_id = bounds.parent_id
    where scores.score is not null
),

final as (
    select compared.*
    from compared
    where not compared.score between compared.lowest - 1e-9 and compared.highest + 1e-9
)

select * from final
