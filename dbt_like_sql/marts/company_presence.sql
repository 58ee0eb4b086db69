-- Grain: one row per city in force in a year with controlled companies.
with
located as (select * from mart.located_companies),

totals as (select * from mart.company_totals),

regions as (select * from core.regions),

cities as (
    select regions.region_code, totals.year
    from totals
    inner join regions
        on regions.valid_from <= totals.year
        and (regions.valid_to is null or regions.valid_to >= totals.year)
    where regions.level in ('prefecture', 'county') or regions.kind = 'municipality'
    group by regions.region_code, totals.year
),

counted as (
    select
        located.region_code,
        located.year,
        count(case when located.root is null then 1 end) as companies,
        count(*) as companies_with_roots
    from located
    where located.location = 'city'
    group by located.region_code, located.year
),

final as (
    select
        cities.region_code,
        cities.year,
        coalesce(counted.companies, 0) as companies,
        coalesce(counted.companies_with_roots, 0) as companies_with_roots,
        'reported' as status,
        case when coalesce(counted.companies, 0) = 0 then cities.year end as searched
    from cities
    left join counted on cities.region_code = counted.region_code and cities.year = counted.year
)

select * from final
