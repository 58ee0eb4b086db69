with
scores as (select * from index.dei_scores),

framework as (select * from core.framework where index_id = 'dei'),

outranked as (select distinct framework.index_id from framework where framework.aggregation = 'copeland'),

summed as (
    select scores.region_code, scores.year, sum(scores.contribution) as contributions
    from scores
    inner join framework on scores.node_id = framework.node_id
    where framework.kind <> 'aggregate'
    group by scores.region_code, scores.year
),

final as (
    select scores.region_code, scores.year, scores.score, summed.contributions
    from scores
    inner join summed on scores.region_code = summed.region_code and scores.year = summed.year
    left join outranked on outranked.index_id = 'dei'
    where scores.level = 0
        and outranked.index_id is null
        and scores.score is not null
        and not abs(scores.score - coalesce(summed.contributions, 0)) <= 1e-9
)

select * from final
