-- Grain: one row per region, year, indicator and variable that the indicator is derived from.
with
observations as (select * from core.observations),

terms as (select * from core.indicator_terms),

final as (
    select
        observations.region_code,
        observations.year,
        terms.indicator_id,
        observations.variable,
        terms.role,
        terms.factor,
        terms.max_points,
        observations.value,
        observations.unit,
        observations.status
    from observations
    inner join terms on observations.variable = terms.variable
)

select * from final
