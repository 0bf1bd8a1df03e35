/* What goes wrong, and when: drawn from the seed, of the kinds that the plan allows. */
#include "tests/sim/world.h"

static bool over;

static void disk_is_well(void *context)
{
    struct sim_disk *disk = context;

    disk->full = disk->map_full = false;
    disk->eio_per_mille = 0;
    SIM_TRACE("a disk is well again");
}

static void hurt_disk(struct sim_disk *disk, bool io_errors)
{
    int64_t for_us = sim_between(50 * SIM_MS, 3 * SIM_SECOND);

    world.counts[DID_HURT_DISK]++;
    if (io_errors) {
        disk->eio_per_mille = 300;
        for_us /= 4;
        if (disk == &hub_disk)
            hub_excused_until = sim_now() + for_us + 2 * SIM_SECOND;
    } else if (sim_pick(2)) {
        disk->full = true;
    } else {
        disk->map_full = true;
    }
    SIM_TRACE("a disk is ill: full=%d map_full=%d eio=%u", disk->full, disk->map_full, disk->eio_per_mille);
    sim_after(for_us, NULL, disk_is_well, disk);
}

static void heal(void *context)
{
    (void)context;
    sim_network_heal();
}

static void clock_back(void *context)
{
    (void)context;
    SIM_TRACE("the wall clock is right again");
    hub_process.wall_offset_us = 0;
}

static void jump(void)
{
    static const int64_t steps[] = {900 * SIM_MS, 3 * SIM_SECOND, 3600 * SIM_SECOND, 86400 * SIM_SECOND};
    int64_t by = steps[sim_pick(4)] * (sim_pick(2) ? 1 : -1);

    world.counts[DID_JUMP_CLOCK]++;
    SIM_TRACE("the wall clock jumps by %lld us", (long long)by);
    hub_process.wall_offset_us += by;
    sim_after(sim_between(100 * SIM_MS, 3 * SIM_SECOND), NULL, clock_back, NULL);
}

static void lose_state(void *context)
{
    char path[256];

    (void)context;
    if (hub_process.alive)
        return;
    world.counts[DID_LOSE_STATE]++;
    SIM_TRACE("the state is deleted: the journal makes it again");
    snprintf(path, sizeof path, "%s/data/state.mdb", world.home);
    sim_file_delete(path);
}

static struct client *any_client(void)
{
    return world.clients[1 + sim_pick(world.client_count - 1)];
}

static void trouble_hub(void)
{
    const struct world_plan *plan = &world.plan;
    bool clock_is_off = hub_process.wall_offset_us != 0; /* a start takes the clock as it finds it */
    int64_t away = sim_often(100) ? sim_between(SIM_SECOND, 5 * SIM_SECOND) : sim_between(5 * SIM_MS, 500 * SIM_MS);

    if (clock_is_off)
        return;
    switch (sim_pick(4)) {
    case 0:
        if (plan->kill_hub)
            hub_crash(plan->power_loss && sim_pick(2) == 0, away);
        break;
    case 1:
    case 2:
        if (plan->kill_hub_at_commit)
            hub_disk.crash_at = (enum sim_crash_point)(1 + sim_pick(3));
        break;
    default:
        if (plan->stop_hub)
            hub_terminate();
        break;
    }
    if (plan->lose_state && sim_pick(2) == 0)
        sim_after(away / 2, NULL, lose_state, NULL);
}

static void trouble_clients(void)
{
    struct client *client = any_client();

    if (world.plan.kill_clients && sim_pick(2) == 0)
        client_crash(client, world.plan.power_loss, sim_between(5 * SIM_MS, 2 * SIM_SECOND));
    else if (world.plan.kill_clients)
        client_disk(client)->crash_at = (enum sim_crash_point)(1 + sim_pick(3));
    if (world.plan.client_disk && sim_pick(3) == 0)
        hurt_disk(client_disk(any_client()), world.plan.io_errors && sim_pick(3) == 0);
}

static void trouble_network(void)
{
    struct sim_link *link = sim_network_any();

    if (!link)
        return;
    if (world.plan.cuts && sim_pick(2) == 0) {
        world.counts[DID_CUT]++;
        sim_link_cut(link, sim_often(150));
    } else if (world.plan.stalls) {
        world.counts[DID_STALL]++;
        sim_link_stall(link, sim_pick(2) == 0, sim_pick(2) == 0);
        sim_after(sim_between(50 * SIM_MS, 6 * SIM_SECOND), NULL, heal, NULL);
    }
}

static void stir(void *context)
{
    const struct world_plan *plan = &world.plan;

    (void)context;
    if (over)
        return;
    switch (sim_pick(6)) {
    case 0:
        trouble_hub();
        break;
    case 1:
        trouble_clients();
        break;
    case 2:
        trouble_network();
        break;
    case 3:
        if (plan->disk_full || plan->io_errors)
            hurt_disk(&hub_disk, plan->io_errors && (!plan->disk_full || sim_pick(2) == 0));
        break;
    case 4:
        if (plan->clock_jumps && hub_process.wall_offset_us == 0 && hub_is_up())
            jump();
        break;
    default:
        break;
    }
    if (plan->governance && sim_pick(2) == 0)
        governance_stir();
    sim_after(sim_between(1, 2 * plan->trouble_every_us), NULL, stir, NULL);
}

static void stir_attack(void *context)
{
    (void)context;
    if (over)
        return;
    attack_stir();
    sim_after(sim_between(10 * SIM_MS, 300 * SIM_MS), NULL, stir_attack, NULL);
}

void trouble_begin(void)
{
    if (world.plan.attackers)
        sim_after(sim_between(0, SIM_SECOND), NULL, stir_attack, NULL);
    sim_after(sim_between(0, SIM_SECOND), NULL, stir, NULL);
}

void trouble_end(void)
{
    over = true;
    hub_disk.crash_at = CRASH_NOWHERE;
    disk_is_well(&hub_disk);
    clock_back(NULL);
    sim_network_heal();
    sim_network_latency(100, 2000);
    attack_end();
    governance_mend();
    for (size_t i = 0; i < world.client_count; i++) {
        client_disk(world.clients[i])->crash_at = CRASH_NOWHERE;
        disk_is_well(client_disk(world.clients[i]));
        client_hurry(world.clients[i]);
    }
}
