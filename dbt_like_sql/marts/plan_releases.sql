-- Grain: one row per kind of plan, five-year plan and region: its first document of them, in the order of publication.
with
documents as (
    select *
    from core.documents
    where counted and published is not null
        and kind in ('newinfra_plan', 'five_year_proposals', 'five_year_outline', 'special_plan', 'action_plan')
),

ordered as (
    select
        documents.*,
        row_number() over (
            partition by documents.kind, documents.period, documents.region_code
            order by documents.published, documents.document_id
        ) as place
    from documents
),

final as (
    select
        ordered.kind,
        ordered.period,
        ordered.region_code,
        ordered.document_id,
        ordered.published,
        ordered.title,
        rank() over (partition by ordered.kind, ordered.period order by ordered.published) as release_rank,
        count(*) over (partition by ordered.kind, ordered.period order by ordered.published) as regions_so_far
    from ordered
    where ordered.place = 1
)

select * from final
