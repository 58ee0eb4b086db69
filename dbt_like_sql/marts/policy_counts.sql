-- Grain: one row per region, year and policy area, with 0 for an area that no document tells of.
with
regions as (select * from core.regions),

documents as (select * from core.documents where counted),

areas as (select * from core.policy_terms where lexicon = 'policy_area'),

hits as (select * from core.policy_hits where lexicon = 'policy_area'),

searched as (
    select
        documents.region_code,
        documents.year,
        count(*) as documents_searched
    from documents
    group by documents.region_code, documents.year
),

levels as (
    select
        regions.region_code,
        min(regions.level) as level
    from regions
    group by regions.region_code
),

found as (
    select
        hits.region_code,
        hits.year,
        hits.term_id,
        count(distinct hits.document_id) as documents,
        count(*) as hits
    from hits
    group by hits.region_code, hits.year, hits.term_id
),

final as (
    select
        searched.region_code,
        searched.year,
        areas.term_id as area_id,
        areas.theme as domain,
        areas.name_zh,
        areas.name_en,
        coalesce(found.documents, 0) as documents,
        coalesce(found.hits, 0) as hits,
        searched.documents_searched,
        100.0 * least(1.0, ln(1 + coalesce(found.documents, 0)) / ln(1 + 20)) as count_score,
        levels.level,
        case
            when levels.level = 'nation' then 1.0::double
            when levels.level = 'province' then 0.5::double
            else 0.2::double
        end as level_weight
    from searched
    inner join areas on areas.lexicon = 'policy_area'
    inner join levels on searched.region_code = levels.region_code
    left join found
        on searched.region_code = found.region_code and searched.year = found.year and areas.term_id = found.term_id
)

select * from final
