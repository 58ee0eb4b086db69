with
scores as (select * from index.dei_normalised),

final as (
    select scores.region_code, scores.year, scores.indicator_id, scores.raw, scores.score, scores.flag
    from scores
    where (scores.raw is null) <> (scores.score is null)
        and (scores.raw is null or coalesce(scores.flag, '') not in ('no_threshold', 'constant'))
)

select * from final
