-- Counted from the closures themselves, for every year that either mart has: neither can lose a year or a company.
with
controlled as (select * from core.controlled_companies where controlled),

roots as (select * from core.companies where root is not null),

totals as (select * from mart.company_totals),

presence as (select * from mart.company_presence),

counted as (
    select
        controlled.year,
        count(distinct case when roots.company_id is null then controlled.company_id end) as companies
    from controlled
    left join roots on controlled.company_id = roots.company_id
    group by controlled.year
),

made as (
    select totals.year from totals
    union
    select presence.year from presence
),

in_cities as (
    select presence.year, sum(presence.companies)::double as companies
    from presence
    group by presence.year
),

compared as (
    select
        made.year,
        coalesce(counted.companies, 0) as companies,
        coalesce(in_cities.companies, 0) as in_cities,
        coalesce(totals.overseas, 0) as overseas,
        coalesce(totals.unlocated, 0) as unlocated
    from made
    left join counted on made.year = counted.year
    left join totals on made.year = totals.year
    left join in_cities on made.year = in_cities.year
),

final as (
    select compared.*
    from compared
    where compared.in_cities + compared.overseas + compared.unlocated <> compared.companies
)

select * from final
