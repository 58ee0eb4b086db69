with
scores as (select * from index.dei_scores),

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

final as (
    select scores.region_code, scores.year, scores.node_id, scores.score, bounds.lowest, bounds.highest
    from scores
    inner join bounds
        on scores.region_code = bounds.region_code
        and scores.year = bounds.year
        and scores.node_id = bounds.parent_id
    where scores.score is not null
        and not scores.score between bounds.lowest - 1e-9 and bounds.highest + 1e-9
)

select * from final
