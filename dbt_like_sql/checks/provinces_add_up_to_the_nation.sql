with
observations as (select * from core.observations),

regions as (select * from core.regions),

provinces as (
    select distinct regions.region_code
    from regions
    where regions.level = 'province' and regions.kind <> 'sar' and regions.region_code <> '710000'
),

summed as (
    select observations.year, observations.variable, sum(observations.value) as provinces_total, count(*) as provinces
    from observations
    inner join provinces on observations.region_code = provinces.region_code
    where observations.unit in ('100m_cny', 'person_years', 'count', '10k_persons')
    group by observations.year, observations.variable
),

final as (
    select
        summed.year,
        summed.variable,
        observations.value as nation,
        summed.provinces_total,
        summed.provinces_total / nullif(observations.value, 0) - 1 as gap
    from summed
    inner join observations
        on summed.year = observations.year
        and summed.variable = observations.variable
        and observations.region_code = '100000'
    where summed.provinces = 31
        and not abs(summed.provinces_total - observations.value) <= 0.005 * abs(observations.value)
)

select * from final
