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
        terms.transform,
        count(*) as parts_expected
    from terms
    group by terms.indicator_id, terms.kind, terms.unit, terms.scale, terms.transform
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
        indicators.transform,
        indicators.parts_expected,
        case
            when summed.parts < indicators.parts_expected then null
            when indicators.kind = 'ratio' then indicators.scale * summed.numerator / nullif(summed.denominator, 0)
            when indicators.kind = 'rubric' then indicators.scale * summed.points / nullif(summed.max_points, 0)
            else indicators.scale * summed.total
        end as plain_value
    from summed
    inner join indicators on summed.indicator_id = indicators.indicator_id
),

transformed as (
    select
        derived.*,
        case when derived.transform = 'log1p' then ln(1 + derived.plain_value) else derived.plain_value end as value
    from derived
),

final as (
    select
        transformed.region_code,
        transformed.year,
        transformed.indicator_id,
        transformed.value,
        transformed.unit,
        case
            when transformed.value is null then 'missing'
            when transformed.has_imputed then 'imputed'
            when transformed.has_expert then 'expert'
            when transformed.has_corrected then 'corrected'
            else 'reported'
        end as status,
        transformed.parts,
        transformed.parts_expected
    from transformed
)

select * from final
