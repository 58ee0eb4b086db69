-- Grain: one row per year and company that some root enterprise controls, and per root enterprise.
with
controlled as (select * from core.controlled_companies),

companies as (select * from core.companies),

closures as (
    select controlled.company_id, controlled.year, count(*) as roots
    from controlled
    where controlled.controlled
    group by controlled.company_id, controlled.year
),

years as (select distinct controlled.year from controlled),

members as (
    select closures.company_id, closures.year
    from closures
    union
    select companies.company_id, years.year
    from companies
    inner join years on companies.root is not null
),

final as (
    select
        members.company_id,
        members.year,
        companies.name,
        coalesce(companies.location, 'unlocated') as location,
        companies.region_code,
        companies.root,
        coalesce(closures.roots, 0) as roots
    from members
    left join companies on members.company_id = companies.company_id
    left join closures on members.company_id = closures.company_id and members.year = closures.year
)

select * from final
