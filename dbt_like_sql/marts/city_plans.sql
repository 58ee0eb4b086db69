-- Grain: one row per list of cities, measure, five-year plan and city that has published such a document: the first.
with
cities as (select * from core.city_lists),

documents as (
    select *
    from core.documents
    where counted and kind in ('five_year_proposals', 'five_year_outline', 'newinfra_plan')
),

measured as (
    select
        documents.kind as measure,
        documents.period,
        documents.region_code,
        documents.document_id,
        documents.published
    from documents
    union all
    select
        'digital_chapter' as measure,
        documents.period,
        documents.region_code,
        documents.document_id,
        documents.published
    from documents
    where documents.kind = 'five_year_proposals' and documents.digital_chapter
),

ordered as (
    select
        cities.list_id,
        measured.measure,
        measured.period,
        measured.region_code,
        measured.document_id,
        row_number() over (
            partition by cities.list_id, measured.measure, measured.period, measured.region_code
            order by measured.published nulls last, measured.document_id
        ) as place
    from cities
    inner join measured on cities.region_code = measured.region_code
),

final as (
    select
        ordered.list_id,
        ordered.measure,
        ordered.period,
        ordered.region_code,
        ordered.document_id
    from ordered
    where ordered.place = 1
)

select * from final
