with
totals as (select * from mart.company_totals),

presence as (select * from mart.company_presence),

in_cities as (
    select presence.year, sum(presence.companies)::double as companies
    from presence
    group by presence.year
),

final as (
    select totals.year, totals.companies, in_cities.companies as in_cities, totals.overseas, totals.unlocated
    from totals
    inner join in_cities on totals.year = in_cities.year
    where in_cities.companies + totals.overseas + totals.unlocated <> totals.companies
)

select * from final
