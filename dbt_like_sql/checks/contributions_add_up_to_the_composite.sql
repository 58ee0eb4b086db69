with
scores as (select * from index.dei_scores),

leaves as (
    select scores.* from scores
    left join scores as children
        on scores.region_code = children.region_code
        and scores.year = children.year
        and scores.node_id = children.parent_id
    where children.node_id is null
),

summed as (
    select leaves.region_code, leaves.year, sum(leaves.contribution) as contributions
    from leaves
    group by leaves.region_code, leaves.year
),

final as (
    select scores.region_code, scores.year, scores.score, summed.contributions
    from scores
    inner join summed on scores.region_code = summed.region_code and scores.year = summed.year
    where scores.level = 0
        and scores.score is not null
        and not abs(scores.score - coalesce(summed.contributions, 0)) <= 1e-9
)

select * from final
