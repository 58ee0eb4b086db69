-- Grain: one row per kind of document, year and technology term: use per 10,000 characters against the year before.
with
documents as (select * from core.documents where counted),

terms as (select * from core.policy_terms where lexicon = 'technology_term'),

hits as (select * from core.policy_hits where lexicon = 'technology_term'),

years as (
    select
        documents.kind,
        documents.year,
        count(*) as documents,
        sum(documents.characters::double) as characters
    from documents
    group by documents.kind, documents.year
),

used as (
    select
        hits.kind,
        hits.year,
        hits.term_id,
        count(*) as hits
    from hits
    group by hits.kind, hits.year, hits.term_id
),

rates as (
    select
        years.kind,
        years.year,
        terms.term_id,
        terms.name_zh,
        terms.name_en,
        years.documents,
        coalesce(used.hits, 0) as hits,
        case
            when years.characters > 0 then 10000.0 * coalesce(used.hits, 0) / years.characters
        end as density
    from years
    inner join terms on terms.lexicon = 'technology_term'
    left join used on years.kind = used.kind and years.year = used.year and terms.term_id = used.term_id
),

final as (
    select
        rates.kind,
        rates.year,
        rates.term_id,
        rates.name_zh,
        rates.name_en,
        rates.documents,
        rates.hits,
        rates.density,
        before.year as year_before,
        before.hits as hits_before,
        before.density as density_before,
        rates.density - before.density as density_change
    from rates
    left join rates as before
        on rates.kind = before.kind and rates.term_id = before.term_id and rates.year = before.year + 1
)

select * from final
