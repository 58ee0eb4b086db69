-- Grain: one row per year, basis and city among the first 20 of the DEI that has a list of key projects.
with
members as (select * from release.newinfra_members where scope = 'top20'),

counts as (select * from mart.project_counts),

regions as (select * from mart.regions),

final as (
    select
        members.year,
        members.region_code,
        members.basis,
        members.scope,
        members.rank,
        regions.short_name_zh as region_name,
        regions.name_en as region_name_en,
        round(cast(members.investment as decimal(18, 9)), 1)::double as investment,
        members.projects,
        members.new_infrastructure_projects,
        round(cast(counts.new_infrastructure_share as decimal(18, 9)), 1)::double as new_infrastructure_share,
        round(cast(members.new_infrastructure_investment as decimal(18, 9)), 1)::double
            as new_infrastructure_investment,
        round(cast(counts.new_infrastructure_investment_share as decimal(18, 9)), 1)::double
            as new_infrastructure_investment_share,
        counts.estimated_projects,
        counts.scope_note
    from members
    inner join counts
        on members.year = counts.year
        and members.region_code = counts.region_code
    inner join regions
        on members.year = regions.year
        and members.region_code = regions.region_code
)

select * from final
