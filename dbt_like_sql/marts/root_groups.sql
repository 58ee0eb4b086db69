-- Grain: one row per year and root enterprise that controls or owns anything.
with
controlled as (select * from core.controlled_companies),

companies as (select * from core.companies),

root_enterprises as (select * from core.companies),

final as (
    select
        controlled.root_id,
        controlled.year,
        min(root_enterprises.name) as name,
        min(root_enterprises.root) as kind,
        count(case when controlled.controlled then 1 end) as companies,
        count(case when controlled.controlled and companies.location = 'city' then 1 end) as in_cities,
        count(distinct case when controlled.controlled then companies.region_code end) as cities,
        max(controlled.step) as deepest,
        count(case when not controlled.controlled then 1 end) as owned_without_control
    from controlled
    inner join root_enterprises on controlled.root_id = root_enterprises.company_id
    left join companies on controlled.company_id = companies.company_id
    group by controlled.root_id, controlled.year
)

select * from final
