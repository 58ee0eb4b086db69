-- Grain: one row per year, scope (all ranked cities, the first 20) and basis.
with
members as (select * from release.newinfra_members),

summed as (
    select
        members.year,
        members.scope,
        members.basis,
        members.cities,
        count(*) as listed_cities,
        sum(members.projects) as projects,
        sum(members.new_infrastructure_projects) as new_projects,
        sum(members.investment) as investment,
        sum(members.new_infrastructure_investment) as new_investment
    from members
    group by members.year, members.scope, members.basis, members.cities
),

final as (
    select
        summed.year,
        summed.scope,
        summed.basis,
        summed.cities,
        summed.listed_cities,
        100.0 * summed.listed_cities / summed.cities as listed_share,
        summed.projects,
        summed.new_projects as new_infrastructure_projects,
        summed.investment,
        summed.new_investment as new_infrastructure_investment,
        100.0 * summed.new_projects / summed.projects as new_infrastructure_share,
        100.0 * summed.new_investment / summed.investment as new_infrastructure_investment_share
    from summed
)

select * from final
