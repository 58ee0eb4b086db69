-- Grain: one row per region and year with a document that counts.
with
documents as (select * from core.documents where counted),

counts as (select * from mart.policy_counts),

area_hits as (select * from core.policy_hits where lexicon = 'policy_area'),

technology_hits as (select * from core.policy_hits where lexicon = 'technology_term'),

areas as (select * from core.policy_terms where lexicon = 'policy_area'),

texts as (
    select
        documents.region_code,
        documents.year,
        count(*) as documents,
        sum(documents.characters::double) as characters
    from documents
    group by documents.region_code, documents.year
),

covered as (
    select
        counts.region_code,
        counts.year,
        count(case when counts.domain = 'service' and counts.documents > 0 then 1 end) as service_areas,
        count(case when counts.domain = 'governance' and counts.documents > 0 then 1 end) as governance_areas,
        count(case when counts.domain = 'service' then 1 end) as all_service_areas,
        count(case when counts.domain = 'governance' then 1 end) as all_governance_areas,
        min(counts.level_weight) as level_weight
    from counts
    group by counts.region_code, counts.year
),

themes as (
    select
        area_hits.region_code,
        area_hits.year,
        count(distinct case when areas.theme = 'service' then area_hits.document_id end) as service_documents,
        count(distinct case when areas.theme = 'governance' then area_hits.document_id end) as governance_documents
    from area_hits
    inner join areas on area_hits.term_id = areas.term_id
    group by area_hits.region_code, area_hits.year
),

technology as (
    select
        technology_hits.region_code,
        technology_hits.year,
        count(*) as technology_hits
    from technology_hits
    group by technology_hits.region_code, technology_hits.year
),

final as (
    select
        texts.region_code,
        texts.year,
        texts.documents,
        texts.characters as characters_searched,
        coalesce(themes.service_documents, 0) as service_documents,
        coalesce(themes.governance_documents, 0) as governance_documents,
        100.0 * least(1.0, ln(1 + coalesce(themes.service_documents, 0)) / ln(1 + 20)) as service_count_score,
        100.0 * least(1.0, ln(1 + coalesce(themes.governance_documents, 0)) / ln(1 + 20)) as governance_count_score,
        covered.level_weight,
        covered.level_weight * coalesce(themes.service_documents, 0) as service_documents_weighted,
        covered.level_weight * coalesce(themes.governance_documents, 0) as governance_documents_weighted,
        100.0 * covered.service_areas / covered.all_service_areas as service_coverage,
        100.0 * covered.governance_areas / covered.all_governance_areas as governance_coverage,
        coalesce(technology.technology_hits, 0) as technology_hits,
        case
            when texts.characters > 0
                then 10000.0 * coalesce(technology.technology_hits, 0) / texts.characters
        end as technology_density
    from texts
    inner join covered on texts.region_code = covered.region_code and texts.year = covered.year
    left join themes on texts.region_code = themes.region_code and texts.year = themes.year
    left join technology on texts.region_code = technology.region_code and texts.year = technology.year
)

select * from final
