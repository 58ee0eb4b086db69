with
scores as (select * from index.dei_normalised where score is not null),

thresholds as (select * from index.thresholds),

bounds as (
    select
        thresholds.indicator_id,
        case when thresholds.rule in ('fixed', 'winsorised_max', 'saturation', 'identity') then 0 end as lowest,
        case
            when thresholds.rule = 'saturation' then 100
            when thresholds.direction = 'moderate' then least(100, coalesce(thresholds.cap, 100))
            else thresholds.cap
        end as highest
    from thresholds
),

final as (
    select scores.region_code, scores.year, scores.indicator_id, scores.score, bounds.lowest, bounds.highest
    from scores
    inner join bounds on scores.indicator_id = bounds.indicator_id
    where isnan(scores.score) or scores.score < bounds.lowest or scores.score > bounds.highest
)

select * from final
