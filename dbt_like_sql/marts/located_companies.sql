-- Grain: one row per year and company that some root enterprise controls, and per root enterprise.
-- The city is the one of the register, in years after its end the one that it became as a whole, and in years before it
-- had its code the region that became it.
with
controlled as (select * from core.controlled_companies),

companies as (select * from core.companies),

regions as (select * from core.regions),

closures as (
    select controlled.company_id, controlled.year, count(*) as roots
    from controlled
    where controlled.controlled
    group by controlled.company_id, controlled.year
),

years as (select distinct controlled.year from controlled),

in_force as (
    select years.year, regions.region_code, min(regions.successor_code) as successor_code
    from years
    inner join regions
        on regions.valid_from <= years.year
        and (regions.valid_to is null or regions.valid_to >= years.year)
    group by years.year, regions.region_code
),

after as (
    select in_force.year, regions.region_code, min(regions.successor_code) as successor_code
    from regions
    inner join in_force
        on regions.successor_code = in_force.region_code
        and regions.valid_to < in_force.year
    group by in_force.year, regions.region_code
    having count(distinct regions.successor_code) = 1
),

before as (
    select in_force.year, in_force.successor_code, min(in_force.region_code) as region_code
    from in_force
    where in_force.successor_code <> in_force.region_code
    group by in_force.year, in_force.successor_code
    having count(*) = 1
),

members as (
    select closures.company_id, closures.year
    from closures
    union
    select companies.company_id, years.year
    from companies
    inner join years on companies.root is not null
),

placed as (
    select
        members.company_id,
        members.year,
        companies.name,
        companies.location,
        companies.root,
        coalesce(closures.roots, 0) as roots,
        coalesce(in_force.region_code, after.successor_code, before.region_code) as region_code
    from members
    left join companies on members.company_id = companies.company_id
    left join closures on members.company_id = closures.company_id and members.year = closures.year
    left join in_force on companies.region_code = in_force.region_code and members.year = in_force.year
    left join after on companies.region_code = after.region_code and members.year = after.year
    left join before on companies.region_code = before.successor_code and members.year = before.year
),

final as (
    select
        placed.company_id,
        placed.year,
        placed.name,
        case
            when placed.location = 'city' and placed.region_code is null then 'unlocated'
            else coalesce(placed.location, 'unlocated')
        end as location,
        placed.region_code,
        placed.root,
        placed.roots
    from placed
)

select * from final
