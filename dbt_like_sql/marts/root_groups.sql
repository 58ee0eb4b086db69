-- Grain: one row per year and root enterprise that controls or owns anything.
with
controlled as (select * from core.controlled_companies),

located as (select * from mart.located_companies),

root_enterprises as (select * from mart.located_companies),

final as (
    select
        controlled.root_id,
        controlled.year,
        min(root_enterprises.name) as name,
        min(root_enterprises.root) as kind,
        count(case when controlled.controlled then 1 end) as companies,
        count(case when controlled.controlled and located.location = 'city' then 1 end) as in_cities,
        count(distinct case when controlled.controlled then located.region_code end) as cities,
        max(controlled.step) as deepest,
        count(case when not controlled.controlled then 1 end) as owned_without_control
    from controlled
    inner join root_enterprises
        on controlled.root_id = root_enterprises.company_id
        and controlled.year = root_enterprises.year
    left join located on controlled.company_id = located.company_id and controlled.year = located.year
    group by controlled.root_id, controlled.year
)

select * from final
