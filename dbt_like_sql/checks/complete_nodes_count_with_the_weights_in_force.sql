with
scores as (select * from index.dei_scores),

weights as (select * from index.dei_weights),

means as (select * from core.framework where index_id = 'dei' and aggregation = 'arithmetic'),

complete as (
    select scores.region_code, scores.year, scores.node_id, scores.effective_weight
    from scores
    inner join means on scores.node_id = means.node_id
    where scores.coverage >= 1 - 1e-12
),

final as (
    select
        scores.region_code,
        scores.year,
        scores.node_id,
        scores.effective_weight,
        complete.effective_weight * weights.weight as weight_in_force
    from scores
    inner join complete
        on scores.region_code = complete.region_code
        and scores.year = complete.year
        and scores.parent_id = complete.node_id
    inner join weights on scores.node_id = weights.node_id
    where not abs(coalesce(scores.effective_weight, -1) - complete.effective_weight * weights.weight) <= 1e-9
)

select * from final
