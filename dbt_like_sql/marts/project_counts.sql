-- Grain: one row per city and year with key projects.
with
projects as (select * from core.projects),

counted as (
    select
        projects.region_code,
        projects.year,
        count(*) as projects,
        count(case when projects.is_new_infrastructure then 1 end) as new_projects,
        sum(projects.investment) as investment,
        sum(case when projects.is_new_infrastructure then projects.investment else 0 end) as new_investment,
        count(case when projects.status = 'estimated' then 1 end) as estimated_projects,
        min(projects.scope_note) as scope_note
    from projects
    group by projects.region_code, projects.year
),

final as (
    select
        counted.region_code,
        counted.year,
        counted.projects,
        counted.new_projects as new_infrastructure_projects,
        counted.investment,
        counted.new_investment as new_infrastructure_investment,
        100.0 * counted.new_projects / counted.projects as new_infrastructure_share,
        100.0 * counted.new_investment / counted.investment as new_infrastructure_investment_share,
        counted.estimated_projects,
        counted.scope_note
    from counted
)

select * from final
