-- Grain: one row per year, basis, cluster and member city that has a score and a weight.
with
scores as (select * from index.dei_city_scores),

clusters as (select * from core.clusters),

editions as (select * from core.editions where index_id = 'dei'),

gdp as (select * from core.observations where variable = 'gdp'),

final as (
    select
        scores.year,
        scores.basis,
        clusters.cluster_id,
        scores.region_code,
        clusters.name_zh,
        clusters.name_en,
        scores.score,
        editions.index_id,
        editions.edition,
        gdp.variable as weight_variable,
        gdp.year as weight_year,
        gdp.value as weight,
        gdp.unit as weight_unit,
        gdp.value / sum(gdp.value) over (partition by scores.year, scores.basis, clusters.cluster_id) as weight_share
    from scores
    inner join clusters on scores.region_code = clusters.region_code and clusters.evaluated
    inner join editions on clusters.edition = editions.edition
    inner join gdp
        on scores.region_code = gdp.region_code
        and gdp.year = scores.year + editions.cluster_weight_year_offset
)

select * from final
