-- Grain: one row per year, scope (all ranked cities, the first 20), basis and city that has a list of key projects.
with
scores as (select * from index.dei_city_scores),

counts as (select * from mart.project_counts),

ranks as (
    select
        scores.year,
        scores.basis,
        scores.region_code,
        rank() over (
            partition by scores.year, scores.basis
            order by cast(scores.score as decimal(18, 9)) desc
        ) as rank,
        count(*) over (partition by scores.year, scores.basis) as ranked_cities
    from scores
),

scopes as (
    select ranks.*, 'ranked' as scope, ranks.ranked_cities as cities
    from ranks
    union all
    select ranks.*, 'top20' as scope, least(ranks.ranked_cities, 20) as cities
    from ranks
    where ranks.rank <= 20
),

final as (
    select
        scopes.year,
        scopes.scope,
        scopes.basis,
        scopes.region_code,
        scopes.rank,
        scopes.cities,
        counts.projects,
        counts.new_infrastructure_projects,
        counts.investment,
        counts.new_infrastructure_investment
    from scopes
    inner join counts
        on scopes.year = counts.year
        and scopes.region_code = counts.region_code
)

select * from final
