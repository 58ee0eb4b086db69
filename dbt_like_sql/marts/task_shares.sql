-- Grain: one row per five-year plan, class of tasks and subclass («all» for the class as a whole).
with
tasks as (select * from core.plan_tasks where class_id is not null),

totals as (
    select
        tasks.period,
        count(*) as tasks
    from tasks
    group by tasks.period
),

classes as (
    select
        tasks.period,
        tasks.class_id,
        count(*) as tasks,
        count(distinct tasks.document_id) as plans
    from tasks
    group by tasks.period, tasks.class_id
),

parts as (
    select
        tasks.period,
        tasks.class_id,
        tasks.subclass_id,
        count(*) as tasks,
        count(distinct tasks.document_id) as plans
    from tasks
    where tasks.subclass_id is not null
    group by tasks.period, tasks.class_id, tasks.subclass_id
),

joined as (
    select classes.period, classes.class_id, 'all' as subclass_id, classes.tasks, classes.plans from classes
    union all
    select parts.period, parts.class_id, parts.subclass_id, parts.tasks, parts.plans from parts
),

final as (
    select
        joined.period,
        joined.class_id,
        joined.subclass_id,
        joined.tasks,
        joined.plans,
        100.0 * joined.tasks / totals.tasks as share_of_all,
        100.0 * joined.tasks / classes.tasks as share_of_class
    from joined
    inner join classes on joined.period = classes.period and joined.class_id = classes.class_id
    inner join totals on joined.period = totals.period
)

select * from final
