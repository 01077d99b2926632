"""What the database's own catalog says of the wall: each table behind it, nothing that goes around it."""

from __future__ import annotations

import re

#: All that may read before a seller is known. There are no others (ARCHITECTURE.md).
FUNCTIONS = {"clean", "due", "expire", "take_lease", "owner_numbers", "sign_in", "wake",
             "begin_log_in", "first_owner", "look_at_invitation", "accept_invitation",
             "look_at_pairing", "accept_pairing", "is_last_owner", "unnamed_photos", "know_key", "knows_ring",
             "due_deliveries", "wake_messages", "receive_webhook", "stand_here", "misplaced",
             "take_import", "wake_imports", "take_drop", "take_relist", "blinded", "mail_for",
             "take_mailboxes", "late_take_downs", "due_live_imports", "take_matching",
             "matching_due", "due_sittings", "publication_counts", "publications_move", "pages_move",
             "post_numbers", "post_history", "note_failure", "failure_numbers", "queue_numbers",
             "account_numbers", "stand_worker", "leave_worker", "standing_workers",
             "chosen_settings", "choose_setting", "setting_changes", "due_notices",
             "spent_photos", "place_numbers", "know_photo_store", "begin_forgetting",
             "end_forgetting", "hold_photos", "known_targets", "remember_look", "note_heal",
             "healed_locators", "healed_picture", "reject_locator", "take_locators",
             "begin_sign_in", "look_at_sign_in", "take_sign_in", "identity_of",
             "join_by_identity", "sign_in_from_supabase", "migration", "trouble_numbers",
             "oldest_program", "wish_remembers"}  # fmt: skip
#: What runs with a change of a seller's rows: it counts and tells that they changed, keeps in which trace
#: they were wished for, and copies nothing of them.
TRIGGERS = {"publication_counts", "publications_appear", "publications_move", "publications_go",
            "accounts_appear", "accounts_move", "accounts_visited", "sales_move",
            "take_downs_move", "wish_remembers"}  # fmt: skip
#: And who may call each, beside the login role.
FOR_SELLERS = {"wake", "is_last_owner", "wake_messages", "wake_imports", "hold_photos"}
#: Tables in which nothing is a seller's: only the listed functions reach them.
NOBODYS = {"webhook_receipts"}
OURS = "('public', 'everystall', 'auth', 'procrastinate')"


async def _all(admin, query, *values):
    return await (await admin.execute(query, values)).fetchall()


async def test_every_table_of_the_sellers_forces_row_level_security(admin):
    tables = await _all(
        admin,
        """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) AS owner,
                  EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attname = 'user_id') AS owned
           FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')""",
    )
    assert {t["relname"] for t in tables} > {"listings", "publications", "user_marketplace_sessions", "users"}
    for table in tables:
        assert table["relrowsecurity"], table
        assert table["owner"] == "everystall_owner", table
        if table["relname"] != "alembic_version":
            assert table["owned"] or table["relname"] in {"users", *NOBODYS}, table
            assert table["relforcerowsecurity"], table


async def test_every_policy_is_the_sellers_own_rows_or_the_engines(admin):
    policies = await _all(admin, "SELECT * FROM pg_policies WHERE schemaname = 'public'")
    sellers = {p["tablename"] for p in policies if p["roles"] == ["authenticated"]}
    owned = await _all(
        admin,
        """SELECT table_name FROM information_schema.columns
           WHERE column_name = 'user_id' AND table_schema = 'public'""",
    )
    assert sellers == {row["table_name"] for row in owned} | {"users"}
    for policy in policies:
        assert policy["permissive"] == "PERMISSIVE"
        if policy["roles"] == ["everystall_engine"]:
            continue
        assert policy["roles"] == ["authenticated"], policy
        subject = "id" if policy["tablename"] == "users" else "user_id"
        for condition in filter(None, (policy["qual"], policy["with_check"])):
            # the sub-select is what keeps auth.uid() from being called per row
            assert f"({subject} = ( SELECT auth.uid() AS uid))" in condition, policy
            assert " OR " not in condition, policy
        if policy["cmd"] in ("ALL", "INSERT"):
            assert policy["with_check"], policy


async def test_the_audit_is_inserted_and_read_and_nothing_else(admin):
    granted = await _all(
        admin,
        """SELECT grantee, privilege_type FROM information_schema.role_table_grants
           WHERE table_name = 'vault_audit' AND grantee <> 'everystall_owner'""",
    )
    assert {(g["grantee"], g["privilege_type"]) for g in granted} == {
        ("authenticated", "INSERT"),
        ("authenticated", "SELECT"),
    }
    assert not await _all(
        admin,
        """SELECT FROM information_schema.column_privileges
           WHERE table_name = 'vault_audit' AND grantee = 'everystall_engine'""",
    )


async def test_only_the_listed_functions_run_with_rights_of_their_own(admin):
    definers = await _all(
        admin,
        f"""SELECT n.nspname, p.proname, pg_get_userbyid(p.proowner) AS owner FROM pg_proc p
            JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
              AND n.nspname IN {OURS} OR p.prosecdef AND n.nspname !~ '^(pg_|information_schema)'""",
    )
    assert {(d["nspname"], d["proname"], d["owner"]) for d in definers} == {
        ("everystall", name, "everystall_engine") for name in FUNCTIONS
    }
    others = await _all(admin, "SELECT proname FROM pg_proc WHERE pronamespace = 'everystall'::regnamespace "
                               "AND NOT prosecdef")  # fmt: skip
    assert others == []


async def test_each_functions_search_path_is_pinned_to_schemas_that_no_seller_writes_to(admin):
    functions = await _all(
        admin,
        """SELECT p.proname, p.proconfig FROM pg_proc p
           WHERE p.pronamespace IN ('everystall'::regnamespace, 'auth'::regnamespace)""",
    )
    for function in functions:
        pinned = [c for c in function["proconfig"] or [] if c.startswith("search_path=")]
        wanted = (
            "procrastinate, pg_catalog, pg_temp"
            if function["proname"] in ("wake", "wake_messages", "wake_imports")
            else "pg_catalog, pg_temp"
        )
        assert pinned == [f"search_path={wanted}"], function
    for schema in ("everystall", "procrastinate", "public", "auth"):
        for role in ("authenticated", "everystall_engine"):
            rows = await _all(admin, "SELECT has_schema_privilege(%s, %s, 'CREATE') AS may", role, schema)
            # the engine owns the schema of its functions; nobody can become it
            assert rows[0]["may"] == ((role, schema) == ("everystall_engine", "everystall"))


async def test_who_may_call_what(admin, database_urls):
    login = database_urls.login.split("//")[1].split(":")[0]
    rows = await _all(
        admin,
        """SELECT proname, has_function_privilege('authenticated', oid, 'EXECUTE') AS seller,
                  has_function_privilege(%s, oid, 'EXECUTE') AS login,
                  EXISTS (SELECT FROM aclexplode(proacl) a WHERE a.grantee = 0) AS anybody
           FROM pg_proc WHERE pronamespace = 'everystall'::regnamespace""",
        login,
    )
    assert {row["proname"] for row in rows} == FUNCTIONS
    for row in rows:
        assert row["login"]
        assert not row["anybody"]
        assert row["seller"] == (row["proname"] in FOR_SELLERS)


async def test_nothing_goes_around_the_wall(admin):
    """Views see as their owner, materialized views and foreign tables have no policies, triggers and rules
    of the sellers' tables could copy a row elsewhere: there are none but the listed triggers."""
    for query in (
        f"""SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('v', 'm', 'f') AND n.nspname IN {OURS}""",
        "SELECT rulename FROM pg_rules WHERE schemaname = 'public'",
        "SELECT pubname FROM pg_publication",
    ):
        assert await _all(admin, query) == []
    triggers = await _all(
        admin,
        """SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
           WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace""",
    )
    assert {row["tgname"] for row in triggers} == TRIGGERS


async def test_the_roles_have_no_power_of_their_own(admin, database_urls):
    login = database_urls.login.split("//")[1].split(":")[0]
    rows = await _all(
        admin,
        """SELECT rolname,
                  rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS mighty,
                  rolcanlogin, rolinherit FROM pg_roles WHERE rolname = ANY(%s)""",
        ["everystall_owner", "everystall_engine", "authenticated", login],
    )
    assert len(rows) == 4
    for row in rows:
        assert not row["mighty"], row
        assert row["rolcanlogin"] == (row["rolname"] == login), row
        if row["rolname"] == login:
            assert not row["rolinherit"]
    may_become = await _all(
        admin,
        "SELECT rolname FROM pg_roles WHERE pg_has_role(%s, oid, 'MEMBER') AND rolname <> %s",
        login,
        login,
    )
    assert [row["rolname"] for row in may_become] == ["authenticated"]


async def test_the_login_and_everybody_have_no_right_on_a_sellers_table(admin, database_urls):
    login = database_urls.login.split("//")[1].split(":")[0]
    for kind in ("table_privileges", "column_privileges"):
        rows = await _all(
            admin,
            f"""SELECT table_name, grantee FROM information_schema.{kind} WHERE table_schema = 'public'
                AND grantee NOT IN ('everystall_owner', 'authenticated', 'everystall_engine')""",
        )
        assert rows == [], login


async def test_the_engine_reads_no_content_and_no_secret(admin):
    rows = await _all(
        admin,
        """SELECT table_name, column_name FROM information_schema.column_privileges
           WHERE grantee = 'everystall_engine' AND table_schema = 'public' AND privilege_type = 'SELECT'""",
    )
    readable = {f"{row['table_name']}.{row['column_name']}" for row in rows}
    assert readable
    # of people it knows what signing in takes: address, password's hash
    for secret in ("user_marketplace_sessions.sealed", "user_keys.wrapped", "listings.title",
                   "connections.account_name", "attempts.draft", "vault_audit.purpose", "events.data",
                   "webhook_endpoints.sealed", "webhook_endpoints.url", "imports.file_name",
                   "import_rows.facts", "listing_sources.facts", "sales.title",
                   "price_rules.rule", "price_drops.floor_cents", "price_steps.after_cents",
                   "relist_rules.after_days", "mailboxes.sealed", "mailboxes.host",
                   "mailboxes.username", "live_import_items.title",
                   "matches.undo", "listing_automation_results.url",
                   "listing_automation_results.needs_you", "totps.sealed", "identities.email",
                   "passkeys.public_key", "channels.sealed", "channels.label",
                   "notice_rules.quiet_from"):  # fmt: skip
        assert secret not in readable
    changes = await _all(
        admin,
        """SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges
           WHERE grantee = 'everystall_engine' AND table_schema = 'public' AND privilege_type <> 'SELECT'""",
    )
    changed = {}
    for row in changes:
        changed.setdefault((row["table_name"], row["privilege_type"]), set()).add(row["column_name"])
    assert changed == {
        ("api_tokens", "UPDATE"): {"last_used_at"},
        ("api_tokens", "INSERT"): {"user_id", "name", "token_hash", "scopes", "kind"},
        ("users", "INSERT"): {"id", "email", "password_hash", "role"},
        ("users", "UPDATE"): {"password_hash", "role", "log_in_tries", "log_in_since"},
        ("log_in_networks", "INSERT"): {"user_id", "network", "tries", "since"},
        ("log_in_networks", "UPDATE"): {"tries", "since"},
        ("invitations", "INSERT"): {"token_hash", "role", "expires_at"},
        ("identities", "INSERT"): {"user_id", "issuer", "subject", "email"},
        ("invitations", "UPDATE"): {"joined_id", "used_at"},
        ("pairings", "UPDATE"): {"tries", "looked_at", "ticket_hash", "accepted_at"},
        ("connections", "UPDATE"): {"lease_fence", "lease_holder", "lease_until", "next_check_at"},
        ("webhook_deliveries", "UPDATE"): {"claimed_until"},
        ("webhook_receipts", "INSERT"): {"id"},
        ("notice_deliveries", "UPDATE"): {"claimed_until"},
        ("imports", "UPDATE"): {"claimed_until"},
        ("price_drops", "UPDATE"): {"next_look_at"},
        ("relist_rules", "UPDATE"): {"next_look_at"},
        ("mailboxes", "UPDATE"): {"claimed_until"},
        ("matchings", "UPDATE"): {"claimed_until"},
    }


async def test_nobody_makes_himself_the_owner(admin):
    rows = await _all(
        admin,
        """SELECT column_name FROM information_schema.column_privileges
           WHERE grantee = 'authenticated' AND table_name = 'users'
             AND privilege_type IN ('UPDATE', 'INSERT')""",
    )
    assert {row["column_name"] for row in rows} == {
        "paused_at", "pause_ends", "password_hash", "log_in_tries", "log_in_since", "time_zone",
        "restored_to", "copy_at_once", "hidden_columns",
    }  # fmt: skip


async def test_each_policys_column_leads_an_index(admin):
    rows = await _all(
        admin,
        """SELECT c.relname FROM pg_class c
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id'
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT EXISTS (
               SELECT FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL)""",
    )
    assert rows == []


async def test_each_reference_between_sellers_tables_is_over_user_id_and_id(admin):
    rows = await _all(
        admin,
        """SELECT con.conname, con.conrelid::regclass::text AS of, con.confrelid::regclass::text AS to,
                  (SELECT array_agg(a.attname::text) FROM pg_attribute a
                   WHERE a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey)) AS columns
           FROM pg_constraint con WHERE con.contype = 'f' AND con.connamespace = 'public'::regnamespace""",
    )
    assert len(rows) > 15
    # whom an invitation made an account for; the inviter has the row, and reads nobody by it
    joined = [row for row in rows if row["columns"] == ["joined_id"]]
    assert [(row["of"], row["to"]) for row in joined] == [("invitations", "users")]
    for row in rows:
        if row in joined:
            continue
        assert "user_id" in row["columns"], row
        assert (row["to"] == "users") == (row["columns"] == ["user_id"]), row


# ---- what Supabase's linter (splinter) would find: its rules that concern us -------------------------

#: Several permissive policies for one role and action are OR-ed for each row. Sellers have one each; the
#: engine's are deliberately apart, one per function that needs it, so that each can be read by itself.
MANY_ON_PURPOSE = {"everystall_engine"}


async def test_every_table_that_somebody_may_reach_has_row_level_security_and_policies_have_it_on(admin):
    """rls_disabled_in_public, policy_exists_rls_disabled, rls_enabled_no_policy."""
    rows = await _all(
        admin,
        """SELECT c.relname, c.relrowsecurity AS on, count(p.polname) AS policies FROM pg_class c
           LEFT JOIN pg_policy p ON p.polrelid = c.oid
           WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace GROUP BY c.oid""",
    )
    assert [row["relname"] for row in rows if not row["on"]] == []
    assert [row["relname"] for row in rows if not row["policies"]] == []


async def test_no_policy_calls_a_function_for_each_row(admin):
    """auth_rls_initplan: auth.uid() and current_setting() stand in a sub-select, which is planned once."""
    policies = await _all(admin, "SELECT * FROM pg_policies WHERE schemaname = 'public'")
    assert policies
    for policy in policies:
        for condition in filter(None, (policy["qual"], policy["with_check"])):
            bare = re.sub(r"\(\s*SELECT [^()]*\([^()]*\) AS \w+\)", "", condition)
            assert not re.search(r"auth\.|current_setting\(", bare), policy


async def test_a_role_has_one_policy_per_table_and_action(admin):
    """multiple_permissive_policies."""
    rows = await _all(
        admin,
        """SELECT tablename, role, action, count(*) AS n FROM pg_policies, unnest(roles) role,
                  unnest(CASE cmd WHEN 'ALL' THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
                                  ELSE ARRAY[cmd] END) action
           WHERE schemaname = 'public' AND permissive = 'PERMISSIVE' GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    )
    assert [row for row in rows if row["role"] not in MANY_ON_PURPOSE] == []


async def test_nothing_stands_in_public_that_goes_around_or_is_not_ours(admin):
    """security_definer_view, materialized_view_in_api, foreign_table_in_api, extension_in_public;
    and no function of anybody's."""
    for query in (
        """SELECT relname FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'f')""",
        "SELECT extname FROM pg_extension WHERE extnamespace = 'public'::regnamespace",
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    ):
        assert await _all(admin, query) == []


async def test_every_function_of_ours_has_its_search_path(admin):
    """function_search_path_mutable."""
    rows = await _all(
        admin,
        """SELECT proname FROM pg_proc
           WHERE pronamespace IN ('everystall'::regnamespace, 'auth'::regnamespace)
             AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE starts_with(c, 'search_path='))""",
    )
    assert rows == []


async def test_every_foreign_key_has_an_index_that_begins_with_it(admin):
    """unindexed_foreign_keys: without one, deleting what it points at reads the whole table. In ours over
    (user_id, id) the id alone is enough to find a row by."""
    rows = await _all(
        admin,
        """SELECT con.conrelid::regclass::text AS of, con.conname FROM pg_constraint con
           WHERE con.contype = 'f' AND con.connamespace = 'public'::regnamespace AND NOT EXISTS (
               SELECT FROM pg_index i WHERE i.indrelid = con.conrelid AND i.indpred IS NULL
               AND ((i.indkey::smallint[])[0:cardinality(con.conkey) - 1] @> con.conkey
                    OR i.indkey[0] = con.conkey[2]))""",
    )
    assert rows == []


async def test_no_two_indexes_are_the_same(admin):
    """duplicate_index; and none is only the beginning of a unique one with the same rows."""
    rows = await _all(
        admin,
        """SELECT a.indexrelid::regclass::text AS one, b.indexrelid::regclass::text AS other
           FROM pg_index a JOIN pg_index b USING (indrelid) JOIN pg_class c ON c.oid = a.indrelid
           WHERE c.relnamespace = 'public'::regnamespace AND a.indexrelid < b.indexrelid
             AND a.indkey = b.indkey AND a.indclass = b.indclass AND a.indoption = b.indoption
             AND a.indexprs IS NOT DISTINCT FROM b.indexprs
             AND pg_get_expr(a.indpred, a.indrelid)
                 IS NOT DISTINCT FROM pg_get_expr(b.indpred, b.indrelid)""",
    )
    assert rows == []


async def test_every_table_has_a_primary_key(admin):
    """no_primary_key."""
    rows = await _all(
        admin,
        """SELECT relname FROM pg_class c
           WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
             AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)""",
    )
    assert rows == []
