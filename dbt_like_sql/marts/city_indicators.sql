-- Grain: one row per region, year and indicator. How an indicator is derived is data: core.indicator_terms.
with
parts as (select * from mart.indicator_parts),

terms as (select * from core.indicator_terms),

indicators as (
    select
        terms.indicator_id,
        terms.kind,
        terms.unit,
        terms.scale,
        count(*) as parts_expected
    from terms
    group by terms.indicator_id, terms.kind, terms.unit, terms.scale
),

summed as (
    select
        parts.region_code,
        parts.year,
        parts.indicator_id,
        count(*) as parts,
        sum(case when parts.role = 'numerator' then parts.value * parts.factor end) as numerator,
        sum(case when parts.role = 'denominator' then parts.value * parts.factor end) as denominator,
        sum(case when parts.role in ('count', 'value') then parts.value * parts.factor end) as total,
        sum(case when parts.role = 'points' then parts.value * parts.factor end) as points,
        sum(case when parts.role = 'points' then parts.max_points end) as max_points,
        bool_or(parts.status = 'imputed') as has_imputed,
        bool_or(parts.status = 'expert') as has_expert,
        bool_or(parts.status = 'corrected') as has_corrected
    from parts
    group by parts.region_code, parts.year, parts.indicator_id
),

derived as (
    select
        summed.*,
        indicators.unit,
        indicators.parts_expected,
        case
            when summed.parts < indicators.parts_expected then null
            when indicators.kind = 'ratio' then indicators.scale * summed.numerator / nullif(summed.denominator, 0)
            when indicators.kind = 'rubric' then indicators.scale * summed.points / nullif(summed.max_points, 0)
            else indicators.scale * summed.total
        end as value
    from summed
    inner join indicators on summed.indicator_id = indicators.indicator_id
),

final as (
    select
        derived.region_code,
        derived.year,
        derived.indicator_id,
        derived.value,
        derived.unit,
        case
            when derived.value is null then 'missing'
            when derived.has_imputed then 'imputed'
            when derived.has_expert then 'expert'
            when derived.has_corrected then 'corrected'
            else 'reported'
        end as status,
        derived.parts,
        derived.parts_expected
    from derived
)

select * from final
