with
scores as (select * from index.dei_scores),

means as (select * from core.framework where index_id = 'dei' and aggregation = 'arithmetic'),

summed as (
    select scores.region_code, scores.year, scores.parent_id, sum(scores.effective_weight) as effective_weights
    from scores
    group by scores.region_code, scores.year, scores.parent_id
),

compared as (
    select
        scores.region_code,
        scores.year,
        scores.node_id,
        case when scores.level = 0 and scores.score is not null then 1 else scores.effective_weight end as carried,
        coalesce(summed.effective_weights, 0) as effective_weights
    from scores
    inner join means on scores.node_id = means.node_id
    inner join summed
        on scores.region_code = summed.region_code
        and scores.year = summed.year
        and scores.node_id = summed.parent_id
),

final as (
    select compared.*
    from compared
    where not abs(compared.effective_weights - compared.carried) <= 1e-9
)

select * from final
