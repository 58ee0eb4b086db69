with
robustness as (select * from index.dei_robustness),

counted as (select robustness.year, count(*) as cities from robustness group by robustness.year),

final as (
    select
        robustness.region_code,
        robustness.year,
        robustness.rank_p05,
        robustness.rank_median,
        robustness.rank_p95,
        robustness.score_p05,
        robustness.score_median,
        robustness.score_p95,
        counted.cities
    from robustness
    inner join counted on robustness.year = counted.year
    where not robustness.rank_median between robustness.rank_p05 - 1e-9 and robustness.rank_p95 + 1e-9
        or not robustness.score_median between robustness.score_p05 - 1e-9 and robustness.score_p95 + 1e-9
        or robustness.rank_p05 < 1
        or robustness.rank_p95 > counted.cities
)

select * from final
