-- Grain: one row per list of cities, measure and five-year plan: how many of the cities have published such a plan.
with
cities as (select * from core.city_lists),

plans as (select * from mart.city_plans),

lists as (
    select
        cities.list_id,
        count(*) as listed
    from cities
    group by cities.list_id
),

published as (
    select
        plans.list_id,
        plans.measure,
        plans.period,
        count(*) as cities
    from plans
    group by plans.list_id, plans.measure, plans.period
),

proposals as (
    select published.list_id, published.period, published.cities
    from published
    where published.measure = 'five_year_proposals'
),

final as (
    select
        published.list_id,
        published.measure,
        published.period,
        published.cities,
        lists.listed,
        coalesce(proposals.cities, 0) as proposals,
        100.0 * published.cities / lists.listed as share_of_list,
        case
            when published.measure = 'digital_chapter' then 100.0 * published.cities / proposals.cities
        end as share_of_proposals
    from published
    inner join lists on published.list_id = lists.list_id
    left join proposals on published.list_id = proposals.list_id and published.period = proposals.period
)

select * from final
