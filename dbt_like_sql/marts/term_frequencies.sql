-- Grain: one row per kind of document, five-year plan and technology term: its use over the regions that have one.
with
documents as (select * from core.documents where counted),

terms as (select * from core.policy_terms where lexicon = 'technology_term'),

hits as (select * from core.policy_hits where lexicon = 'technology_term'),

kinds as (
    select
        documents.kind,
        documents.period,
        count(*) as documents,
        count(distinct documents.region_code) as regions
    from documents
    group by documents.kind, documents.period
),

used as (
    select
        hits.kind,
        hits.period,
        hits.term_id,
        count(*) as hits,
        count(distinct hits.region_code) as regions_using
    from hits
    group by hits.kind, hits.period, hits.term_id
),

final as (
    select
        kinds.kind,
        kinds.period,
        terms.term_id,
        terms.theme,
        terms.name_zh,
        terms.name_en,
        kinds.documents,
        kinds.regions,
        coalesce(used.hits, 0) as hits,
        coalesce(used.regions_using, 0) as regions_using,
        coalesce(used.regions_using, 0)::double / kinds.regions as share
    from kinds
    inner join terms on terms.lexicon = 'technology_term'
    left join used
        on kinds.kind = used.kind and kinds.period = used.period and terms.term_id = used.term_id
)

select * from final
