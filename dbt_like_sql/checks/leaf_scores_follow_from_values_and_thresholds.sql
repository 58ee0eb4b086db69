with
scores as (select * from index.dei_normalised where raw is not null),

thresholds as (
    select * from index.thresholds where rule in ('fixed', 'winsorised_max', 'saturation', 'identity')
),

points as (
    select
        scores.region_code,
        scores.year,
        scores.indicator_id,
        scores.raw,
        scores.score,
        case
            when thresholds.rule = 'saturation' then 100 * ln(1 + scores.raw) / ln(1 + thresholds.theta)
            when thresholds.direction = 'moderate' and scores.raw <= thresholds.best
                then 100 * (scores.raw - thresholds.lo) / (thresholds.best - thresholds.lo)
            when thresholds.direction = 'moderate'
                then 100 * (thresholds.hi - scores.raw) / (thresholds.hi - thresholds.best)
            when thresholds.direction = 'negative' and scores.raw <= 0 then thresholds.cap
            when thresholds.direction = 'negative' then 100 * thresholds.theta / scores.raw
            else 100 * scores.raw / thresholds.theta
        end as uncapped,
        case
            when thresholds.rule = 'saturation' then 100
            when thresholds.direction = 'moderate' then least(100, coalesce(thresholds.cap, 100))
            else thresholds.cap
        end as cap
    from scores
    inner join thresholds on scores.indicator_id = thresholds.indicator_id
),

expected as (
    select points.*, greatest(0, least(points.uncapped, coalesce(points.cap, points.uncapped))) as expected
    from points
),

final as (
    select expected.region_code, expected.year, expected.indicator_id, expected.raw, expected.score, expected.expected
    from expected
    where not coalesce(abs(expected.score - expected.expected) <= 1e-9 * greatest(1, expected.expected), false)
)

select * from final
