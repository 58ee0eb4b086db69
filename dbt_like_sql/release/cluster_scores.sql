-- Grain: one row per year, basis and cluster: member scores weighted by the members' GDP.
with
members as (select * from release.cluster_members),

clusters as (select * from core.clusters),

sizes as (
    select clusters.cluster_id, count(*) as members
    from clusters
    where clusters.evaluated
    group by clusters.cluster_id
),

final as (
    select
        members.year,
        members.cluster_id,
        members.basis,
        members.name_zh,
        members.name_en,
        'gdp_' || members.weight_year as weighting,
        sum(members.score * members.weight) / sum(members.weight) as score,
        avg(members.score) as simple_mean,
        count(*) as cities,
        sizes.members
    from members
    inner join sizes on members.cluster_id = sizes.cluster_id
    group by
        members.year, members.cluster_id, members.basis, members.name_zh, members.name_en, members.weight_year,
        sizes.members
)

select * from final
