-- Grain: one row per year with controlled companies.
with
located as (select * from mart.located_companies),

final as (
    select
        located.year,
        count(case when located.root is null then 1 end) as companies,
        count(case when located.root is null and located.location = 'city' then 1 end) as in_cities,
        count(case when located.root is null and located.location = 'overseas' then 1 end) as overseas,
        count(case when located.root is null and located.location = 'unlocated' then 1 end) as unlocated,
        count(case when located.root is null and located.roots > 1 then 1 end) as shared,
        count(case when located.root is not null then 1 end) as roots
    from located
    group by located.year
)

select * from final
