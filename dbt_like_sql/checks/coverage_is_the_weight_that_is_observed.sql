with
scores as (select * from index.dei_scores),

weights as (select * from index.dei_weights),

carried as (
    select
        scores.region_code,
        scores.year,
        scores.parent_id,
        sum(case when scores.score is null then 0 else weights.weight * scores.coverage end) as observed
    from scores
    inner join weights on scores.node_id = weights.node_id
    where scores.parent_id is not null
    group by scores.region_code, scores.year, scores.parent_id
),

final as (
    select scores.region_code, scores.year, scores.node_id, scores.coverage, carried.observed
    from scores
    inner join carried
        on scores.region_code = carried.region_code
        and scores.year = carried.year
        and scores.node_id = carried.parent_id
    where not abs(scores.coverage - carried.observed) <= 1e-9
)

select * from final
