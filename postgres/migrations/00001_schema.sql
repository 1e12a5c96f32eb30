-- +goose Up

-- An account is a small ledger of its own: its items, receipts, allocations and
-- journal entries are numbered within it (docs and entries are the last numbers
-- given). So numbers depend on the account's story only, never on which worker
-- came first, and everything of one account lies together.
-- In the largest tables what has a fixed width and a value stands first, and texts
-- behind it: the server finds it sooner, and rows are smaller.
create table account (
    id               bigint generated always as identity primary key,
    base             bigint      not null default 0,       -- what is open of the newest bill's own principal
    docs             integer     not null default 0,
    entries          integer     not null default 0,
    first_cycle      integer     not null default 0,       -- year*12+month-1 of the first statement, 0 before the first charge
    last_cycle       integer     not null default 0,       -- of the newest bill
    pending          integer     not null default 0,       -- receipts that have not posted
    looked           integer     not null default 0,       -- the last journal entry that the late-fee job has seen
    open_from        integer     not null default 0,       -- no item below this number is open or unbilled, no receipt below it pending or in credit
    opened_on        date        not null,
    relook           boolean     not null default false,   -- the late fees of its bills must be looked at again
    replay           boolean     not null default false,   -- what is open may not be what a replay by received date gives
    mrn              text        not null unique,          -- the guarantor's MRN
    bill_made        date,                                 -- the day on which the newest bill was made, null: there is none;
    bill_due         date,                                 -- its due date;
    bill_until       date,                                 -- its deadline;
    older_until      date,                                 -- and the latest of the deadlines of older ones
    booked_from      date,                                 -- of what is owed, nothing was booked since the newest bill on an earlier business date than this; null: nothing was
    autopay          text        not null default 'off',   -- on, off, suspended, ended
    autopay_since    date,                                 -- the day autopay last went on
    last_debit_cents bigint,                               -- null: never debited
    check (id = 0 or id < 100000000)                       -- eight digits of a statement number
) with (fillfactor = 45);
create index account_relook on account (id) where relook;

-- An account stays, and keeps its number. Nothing has a foreign key to it, which
-- each change of an account would have to check: verify proves that everything
-- has its account.
-- +goose StatementBegin
create function refuse_account_gone() returns trigger language plpgsql as $$
begin
    raise exception 'an account is never deleted or renumbered' using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger account_stays before update of id or delete on account for each statement execute function refuse_account_gone();

-- Account 0 is the house's own: money that is nobody's yet.
insert into account (id, mrn, opened_on) overriding system value values (0, 'house', '0001-01-01');

create table member (
    mrn         text   not null,
    account_id  bigint not null,                           -- the guarantor's account
    first_name  text   not null,
    last_name   text   not null,
    birth_date  date,
    address1    text   not null,
    address2    text   not null,
    city        text   not null,
    state       text   not null,
    zip         text   not null,
    email       text   not null,
    phone       text   not null,
    language    text   not null,
    delivery    text   not null check (delivery in ('paper', 'paperless')),
    deceased_on date,
    primary key (mrn) include (account_id)                 -- whose it is, is asked for far more often than all the rest
);
create index member_account on member (account_id);

-- What a member's row said before it changed: the names and the account that
-- stood until a day. Append-only.
create table member_was (
    mrn        text   not null references member,
    until_on   date   not null,                            -- the first day that it said something else
    account_id bigint not null,
    first_name text   not null,
    last_name  text   not null,
    primary key (mrn, until_on)
);

create table hold (
    account_id  bigint  not null,
    no          integer not null,
    reason      text    not null,
    placed_on   date    not null,
    released_on date,
    automatic   boolean not null,                          -- placed and released by the state of the member's data
    placed_by   text    not null,
    released_by text    not null default '',
    note        text    not null default '',
    primary key (account_id, no)
);

-- A billable thing: what a member owes for one charge, fee or installment.
-- Open = cents - paid. The journal holds its history, this row how it stands.
create table item (
    account_id    bigint  not null,
    no            integer not null,
    cycle         integer not null default 0,              -- of the bill that first billed it
    cents         bigint  not null check (cents >= 0),
    paid          bigint  not null default 0 check (paid >= 0 and paid <= cents),
    arrived_on    date    not null,
    entry         integer not null default 0,              -- the journal entry that made it
    gross_cents   bigint  not null default 0,
    insurer_cents bigint  not null default 0,
    for_cycle     integer not null default 0,              -- late fee: the bill it is for; premium: its month
    for_doc       integer not null default 0,              -- the document it is for: a returned-payment fee's payment, a premium's coverage, an installment's plan
    parent        integer not null default 0,              -- the item it was split from
    origin        text    not null,                        -- charge, coverage, late_fee, returned_fee, installment, refund_owed
    ended         text    not null default '',             -- a fee that no longer stands: reversed, waived
    charge_id     text collate "C",
    state         text    not null check (state in ('unbilled', 'billed', 'disputed', 'deferred')),
    kind          text    not null check (kind in ('premium', 'medical', 'fee')),
    mrn           text    not null default '',
    description   text    not null default '',
    billed_on     date,                                    -- that bill's cut day: its age counts from here
    made_on       date,                                    -- the day that bill was made: it takes money from here
    service_date  date,
    primary key (account_id, no)
) with (fillfactor = 45);
create unique index item_charge on item (charge_id) where charge_id is not null;
create unique index item_one_late_fee on item (account_id, for_cycle) where origin = 'late_fee' and ended = '';

create table bill (
    account_id        bigint  not null,
    cycle             integer not null,
    cut_on            date    not null,
    made_on           date    not null,
    due_on            date    not null,
    deadline_on       date    not null,
    previous          bigint  not null,
    payments          bigint  not null,
    adjustments       bigint  not null,
    charges           bigint  not null,
    fees              bigint  not null,
    balance           bigint  not null,
    amount_due        bigint  not null check (amount_due >= 0),
    pending           bigint  not null,
    disputed          bigint  not null,
    deferred          bigint  not null,
    aging_current     bigint  not null,
    aging_30          bigint  not null,
    aging_60          bigint  not null,
    aging_90          bigint  not null,
    entries           integer not null,                    -- the last journal entry that it has taken up
    debit_on          date    not null,                    -- the day autopay debits it
    debit_moved       boolean not null default false,      -- by the biller, for the notice of a varying amount
    debit_missed      boolean not null default false,      -- by the biller
    debit_none        boolean not null default false,      -- nothing was due on its build day
    prev_deadline     date,                                -- the latest of the bills before: money received by then may concern one
    fee_barred        boolean not null default false,      -- its debit came back as unauthorized
    plan              text    not null default '',         -- its account's plan and state at its cut, if
    state             text    not null default '',         -- a policy chooses by them
    primary key (account_id, cycle),
    check (previous + payments + adjustments + charges + fees = balance),
    check (made_on >= cut_on)
) with (fillfactor = 90);
create index bill_deadline on bill (account_id, deadline_on);
create index bill_debit_astray on bill (account_id, cycle) where debit_moved or debit_missed or fee_barred; -- few, and not plain for a late fee

-- Money in the house, whatever its channel.
create table receipt (
    account_id    bigint  not null,
    no            integer not null,
    in_entry      integer not null default 0,              -- the journal entry that took it in, if pending money is on the books
    cents         bigint  not null check (cents > 0),
    unapplied     bigint  not null check (unapplied >= 0), -- what of it is credit (all of it while pending)
    refunded      bigint  not null default 0 check (refunded >= 0),
    received_on   date    not null,                        -- decides lateness
    arrived_on    date    not null,                        -- when we first had it
    posts_on      date    not null,
    posted_entry  integer not null default 0,              -- the journal entry that posted it
    guest         boolean not null default false,          -- the excess is the payer's
    state         text    not null check (state in ('pending', 'posted', 'returned', 'withdrawn', 'void')),
    channel       text    not null,                        -- lockbox, ach, card, counter, online, phone, check, guest, opening
    directed      text    not null default '',             -- the coupon's bill kind
    reference     text    not null default '',             -- check number, payment id
    payer         text    not null default '',
    end_code      text    not null default '',
    posted_on     date,
    ended_on      date,
    check_file    bigint,                                  -- the lockbox check, and which part of it, that it is
    check_item    integer,
    check_coupon  integer,
    primary key (account_id, no),
    check (unapplied + refunded <= cents)
) with (fillfactor = 50);

-- Which item a receipt's money went to. Append-only: taking back is a negative row.
create table allocation (
    account_id bigint  not null,
    no         integer not null,
    receipt    integer not null,
    item       integer not null,
    cents      bigint  not null check (cents <> 0),
    on_date    date    not null,
    primary key (account_id, no)
);

-- How an item has stood since a day, where neither a bill nor the journal dates
-- it: split off into a dispute or a plan, come out of one, or billed as an
-- installment. Item 0 is the account's autopay. With it, every figure of an
-- account can be told as of any day. Append-only.
create table standing (
    account_id bigint  not null,
    no         integer not null,
    on_date    date    not null,
    item       integer not null,
    state      text    not null,                           -- of the item, or of autopay
    source     integer not null default 0,                 -- the item that it was split from by this
    cents      bigint  not null default 0,                 -- what it took over from its source
    primary key (account_id, no),
    check ((source = 0) = (cents = 0))
);
create index standing_items on standing (account_id) where item <> 0;
create index standing_autopay_ended on standing (account_id) where item = 0 and state <> 'on';

-- The journal. One row is one transfer, debit to credit: balanced by construction.
-- It lies in a partition for each month of its business dates, which the nights
-- make ahead; journal_other takes what has none yet. Nothing refers to a number
-- twice: the account's counter gives them, under its lock.
create table journal (
    account_id   bigint  not null,
    no           integer not null,
    posted_on    date    not null,                         -- business date of the run that wrote it
    effective_on date    not null,                         -- when it counts
    what         text    not null,
    debit        text    not null,
    credit       text    not null,
    cents        bigint  not null check (cents > 0),
    doc          integer not null default 0,               -- the item or receipt it is about
    reverses     integer,                                  -- the entry that it undoes
    primary key (account_id, no, posted_on),
    check (debit <> credit)
) partition by range (posted_on);
create table journal_other partition of journal default;

-- Months of the journal that lie in files (billing/archive.go), where in a file
-- each account's entries begin, and entries of such months that a rule may
-- still ask for: those that no bill has taken up, and what was taken off items.
create table journal_month (
    month       integer primary key,                       -- year*12+month-1
    file        text    not null unique,
    entries     bigint  not null,
    cents       bigint  not null,
    sha256      bytea   not null,
    archived_on date    not null
);
create table journal_block (
    month        integer not null references journal_month,
    from_account bigint  not null,
    at           bigint  not null,
    bytes        bigint  not null,
    sha256       bytea   not null,
    primary key (month, from_account)
);
create table journal_kept (like journal, primary key (account_id, no));
create view journal_at_hand as select * from journal union all select * from journal_kept;

-- +goose StatementBegin
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: correct it by a new entry that names what it reverses', tg_table_name
        using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger journal_append_only before update or delete on journal for each row execute function refuse_change();
create trigger journal_no_truncate before truncate on journal for each statement execute function refuse_change();
create trigger journal_no_truncate before truncate on journal_other for each statement execute function refuse_change();
create trigger allocation_append_only before update or delete on allocation for each row execute function refuse_change();
create trigger standing_append_only before update or delete on standing for each row execute function refuse_change();
create trigger member_was_append_only before update or delete on member_was for each row execute function refuse_change();

-- What each transaction wrote into the journal, added up by what will be a line
-- of a file for the general ledger.
create table journal_total (
    id        bigint generated always as identity primary key,
    posted_on date    not null,
    what      text    not null,
    debit     text    not null,
    credit    text    not null,
    entries   bigint  not null check (entries > 0),
    cents     bigint  not null check (cents > 0),
    file      integer                                      -- the journal_file that has taken it, null until one does
);
create index journal_total_waiting on journal_total (posted_on) where file is null;
create index journal_total_file on journal_total (file) where file is not null;

-- A file for the general ledger, and its lines: sealed together, never changed.
-- Its bytes follow from them; the outbox_file keeps their hash.
create table journal_file (
    no      integer primary key check (no > 0),            -- without a gap
    day     date    not null,                              -- business date of the run that made it
    outbox  bigint  not null unique,                       -- its outbox_file
    lines   integer not null,
    entries bigint  not null,                              -- journal entries behind them
    cents   bigint  not null                               -- of all debits, and of all credits
);
create index journal_file_day on journal_file (day);
create table journal_line (
    file           integer not null references journal_file,
    no             integer not null,
    posted_on      date    not null,
    what           text    not null,
    side           text    not null check (side in ('debit', 'credit')),
    ledger_account text    not null,
    account        text    not null,                       -- the same as the biller's chart of accounts calls it
    entries        bigint  not null,
    cents          bigint  not null check (cents > 0),
    primary key (file, no)
);
create trigger journal_file_append_only before update or delete on journal_file for each row execute function refuse_change();
create trigger journal_line_append_only before update or delete on journal_line for each row execute function refuse_change();

-- The payments feed: what was taken elsewhere.
create table payment (
    payment_id  text    primary key,
    account_id  bigint  not null,
    receipt     integer not null,
    content     bytea   not null                           -- hash of the row, to tell unchanged from different
);

-- Feed corrections (rows with adjusts), by their own charge_id.
create table adjustment (
    charge_id  text   collate "C" primary key,
    account_id bigint not null,
    kind       text   not null,
    cents      bigint not null,
    adjusts    text   not null default '',
    content    bytea  not null,
    on_date    date   not null
);

-- How an account pays by itself, and by what right.
create table autopay_method (
    id            bigint generated always as identity primary key,
    account_id    bigint  not null,
    method        text    not null check (method in ('ach', 'card')),
    routing       text    not null default '',
    account_type  text    not null default 'checking',
    number_sealed bytea,                                   -- AEAD, context autopay_method/<account_id>
    number_hash   bytea,                                   -- keyed, to find it
    number_last4  text    not null default '',
    card_token    text    not null default '',
    authorized_on date    not null,
    authorized_by text    not null check (authorized_by in ('written', 'web', 'phone')),
    terms         text    not null default '',             -- the text agreed to, by its version or hash
    copy_sent_on  date,                                    -- of the authorization, to the member
    range_from    bigint  not null default 0,              -- amounts of which the member wants no notice
    range_to      bigint  not null default 0,
    ended_on      date,
    ended_by_hand boolean not null default false,          -- a person has said so: the feed does not prolong it
    individual    text    not null default '',             -- the account's MRN, as its debits bear it
    corrected_by  text    not null default '',             -- the notification of change it follows
    debit_from    date    default '0001-01-01',            -- no debit takes effect before; null: before a prenote has gone out
    check (method <> 'ach' or individual <> ''),
    check (0 <= range_from and range_from <= range_to)
);
create index autopay_method_account on autopay_method (account_id, id desc);
create index autopay_method_ended on autopay_method (account_id) where ended_on is not null;
create index autopay_method_untried on autopay_method (account_id) where debit_from is null;

-- Who may release debits. Names differ by more than capitals. While nobody is
-- listed, a name is taken at its word.
create table operator (
    name       text    primary key check (name = btrim(name) and name <> '' and lower(name) <> 'system'),
    token_hash bytea   not null,                           -- SHA-256 of a random token of 130 bits
    enabled    boolean not null default true,
    added_on   date    not null,
    changed_by text    not null                            -- who added, enabled or disabled it last
);
create unique index operator_name on operator (lower(name));

-- A bundle of debits on its way to the bank. Autopay opens it as it selects
-- debits, and seals it: from then on its bytes stand, encrypted, in parts.
create table ach_file (
    id           bigint generated always as identity primary key,
    built_on     date    not null,                         -- as it was opened; when sealed, the day its header names
    effective_on date    not null,
    kind         text    not null default 'debits' check (kind in ('debits', 'prenotes', 'reversals')), -- what is in it, and nothing else
    company      text    not null default '',              -- id of the company whose entries they are
    modifier     text,                                     -- Nacha file ID modifier; as the rest below, null until it is sealed
    name         text    unique,
    entries      integer not null default 0,               -- live debits
    prenotes     integer not null default 0,
    reversals    integer not null default 0,
    cents        bigint  not null default 0,               -- of the debits
    credit_cents bigint  not null default 0,               -- of the reversals
    first_trace  bigint  not null default 0,               -- between these lie the traces of all that is in it
    last_trace   bigint  not null default 0,
    first_account bigint not null default 0,               -- and their accounts between these
    last_account bigint  not null default 0,
    batches      text[]  not null default '{}',            -- entry classes, each with or without " retry", in the order of the file
    sha256       bytea,
    maker        text    not null,
    hands        text[]  not null default '{}',            -- who edited it or lifted its hold since: small letters
    held_by      text,                                     -- it is not released while somebody holds it
    held_why     text    not null default '',
    released_by  text,
    released_on  date,
    released_sha256 bytea,                                 -- what was released: these bytes and no others
    written_on   date,                                     -- put into the outbox; once, as the bank's carrier empties it
    ready_on     date,                                     -- its bytes lie there whole, under a name that nobody takes, about to get their own
    missed_on    date,                                     -- the day that found it released, but not put there in time: it stays in the house
    state        text    not null default 'open' check (state in ('open', 'sealed', 'released', 'withdrawn')),
    bank         text    not null default '' check (bank in ('', 'acknowledged', 'rejected', 'unknown')), -- what the bank said
    bank_on      date,
    bank_detail  text    not null default '',
    check (state in ('open', 'withdrawn') or sha256 is not null),
    check ((sha256 is null) = (name is null) and (name is null) = (modifier is null)),
    check (released_by is null or lower(btrim(released_by)) not in ('', 'system', lower(btrim(maker))) and lower(btrim(released_by)) <> all (hands)),
    check ((state = 'released') = (released_by is not null)),
    check (state <> 'released' or held_by is null and released_sha256 = sha256),
    check (released_on is null or released_on < effective_on),
    check (missed_on is null or state = 'released' and written_on is null and missed_on >= effective_on),
    check (bank = '' or state = 'released'),
    unique (built_on, modifier)
);
create index ach_file_waiting on ach_file (id) where state in ('open', 'sealed') or state = 'released' and written_on is null and missed_on is null;

-- A file's bytes, in order.
create table ach_file_part (
    file_id bigint  not null,
    part    integer not null,                              -- from 1
    sealed  bytea   not null,                              -- compressed (S2), then encrypted, context ach_file/<name>/<part>
    primary key (file_id, part)
);
alter table ach_file_part alter column sealed set storage external; -- what is encrypted does not shrink

-- While it holds a row, nothing is released.
create table ach_stop (
    one        boolean primary key default true check (one),
    stopped_by text    not null,
    stopped_on date    not null,
    why        text    not null
);

-- +goose StatementBegin
create function guard_ach_file() returns trigger language plpgsql as $$
begin
    if old.state = 'released' and (new.state, new.name, new.sha256, new.released_by, new.released_on, new.released_sha256, new.effective_on, new.entries, new.prenotes, new.reversals, new.cents, new.credit_cents)
            is distinct from (old.state, old.name, old.sha256, old.released_by, old.released_on, old.released_sha256, old.effective_on, old.entries, old.prenotes, old.reversals, old.cents, old.credit_cents) then
        raise exception 'ACH file % was released: it does not change any more', old.name using errcode = 'restrict_violation';
    end if;
    if new.state = 'released' and old.state <> 'released' then
        if old.state <> 'sealed' or new.sha256 is distinct from old.sha256 then
            raise exception 'ACH file % is not sealed as it is to be released', old.id using errcode = 'restrict_violation';
        end if;
        if exists (select from ach_stop) then
            raise exception 'all releases are stopped' using errcode = 'restrict_violation';
        end if;
        if exists (select from operator) and not exists (select from operator where lower(name) = lower(btrim(new.released_by)) and enabled) then
            raise exception '% is no enabled operator', new.released_by using errcode = 'restrict_violation';
        end if;
    end if;
    return new;
end $$;
-- +goose StatementEnd
create trigger ach_file_guard before update on ach_file for each row execute function guard_ach_file();

create table ach_trace (
    odfi text   primary key,                               -- 8 digits
    next bigint not null
);

-- A debit: (account, bill, attempt). 0 is the first, 1 and 2 are its retries.
create table debit (
    account_id   bigint  not null,
    cycle        integer not null,
    attempt      integer not null,
    receipt      integer not null,
    cents        bigint  not null check (cents > 0),
    built_on     date    not null,
    effective_on date    not null,
    due_then     bigint  not null,                         -- what was due when it was built
    last_before  bigint,                                   -- the debit before it: what it differs from
    trace        bigint  not null,
    sec          text    not null,
    method_id    bigint  not null,                         -- no foreign keys here: verify proves them, a night makes millions
    file_id      bigint,                                   -- null for one that was taken out of its file
    state        text    not null check (state in ('built', 'returned', 'withdrawn')),
    missed       boolean not null default false,           -- built after its own day, by the biller's fault
    code         text    not null default '',
    returned_on  date,
    retry_on     date,                                     -- when a retry takes effect, null for none (any more)
    check (cents <= due_then)
);
-- Its key: of those that were withdrawn there may be several, told apart by receipt.
create unique index debit_key on debit (account_id, cycle, attempt, (case when state = 'withdrawn' then receipt else 0 end));
create index debit_trace on debit (trace);
create index debit_retry on debit (retry_on) where retry_on is not null;

-- An entry of a file that is no debit: a prenote, which tries a bank account
-- out with zero cents, or a reversal, the credit that undoes a debit sent in
-- error.
create table ach_entry (
    trace        bigint  not null,
    kind         text    not null check (kind in ('prenote', 'reversal')),
    account_id   bigint  not null,
    method_id    bigint  not null,
    receipt      integer not null default 0,               -- of the debit that a reversal undoes
    cents        bigint  not null,
    sec          text    not null,
    built_on     date    not null,
    effective_on date    not null,
    file_id      bigint,                                   -- null for one that was taken out of its file
    state        text    not null default 'built' check (state in ('built', 'settled', 'returned', 'withdrawn')),
    fault        text    not null default '',              -- why it is reversed: duplicate, amount, date, receiver
    code         text    not null default '',              -- with which it came back, or why it was withdrawn
    returned_on  date,
    primary key (trace, built_on),
    check ((kind = 'prenote') = (cents = 0)),
    check ((kind = 'reversal') = (receipt > 0 and fault <> ''))
);
create unique index ach_entry_prenote on ach_entry (method_id) where kind = 'prenote' and state <> 'withdrawn';
create unique index ach_entry_reversal on ach_entry (account_id, receipt) where kind = 'reversal' and state <> 'withdrawn';
create index ach_entry_account on ach_entry (account_id);
create index ach_entry_file on ach_entry (file_id);

-- What the bank sent about our debits.
create table ach_answer (
    sha256     bytea   not null,
    ordinal    integer not null,
    on_date    date    not null,
    kind       text    not null check (kind in ('return', 'correction')),
    trace      text    not null,
    code       text    not null,
    cents      bigint  not null,
    outcome    text    not null,                           -- applied, unmatched, duplicate
    account_id bigint,
    detail     text    not null default '',
    primary key (sha256, ordinal)
);

-- How many of a company's debits have come back, as the last night counted it.
create table ach_rate (
    company  text   not null,
    kind     text   not null,                              -- unauthorized, administrative, overall
    on_date  date   not null,
    entries  bigint not null,                              -- of 60 days
    returns  bigint not null,
    most     bigint not null,                              -- Nacha's limit, in hundredths of a percent
    primary key (company, kind)
);

-- Lockbox: file, batch, check.
create table lockbox_file (
    id          bigint generated always as identity primary key,
    sha256      bytea   not null unique,
    canonical   bytea   not null,                          -- of the records without line ends and padding
    name        text    not null,
    profile     text    not null,
    ingested_on date    not null,
    items       integer not null,
    cents       bigint  not null,
    state       text    not null check (state in ('arriving', 'accepted', 'refused', 'held')),
    problems    jsonb   not null default '[]'
);
create unique index lockbox_file_canonical on lockbox_file (canonical) where state = 'accepted';
create table lockbox_batch (
    file_id    bigint  not null references lockbox_file,
    ordinal    integer not null,
    lockbox    text    not null,
    number     text    not null,
    deposit_on date,
    items      integer not null,
    cents      bigint  not null,
    said_cents bigint  not null,
    canonical  bytea   not null,
    state      text    not null check (state in ('accepted', 'refused', 'skipped', 'held', 'replaced')),
    primary key (file_id, ordinal)
);
create index lockbox_batch_key on lockbox_batch (lockbox, deposit_on, number);
-- Of which lockboxes and deposit dates a file told, be it that there was no mail.
create table lockbox_deposit (
    file_id    bigint not null references lockbox_file,
    lockbox    text   not null,
    deposit_on date   not null,
    primary key (file_id, lockbox, deposit_on)
);
create index lockbox_deposit_day on lockbox_deposit (deposit_on);
create table lockbox_item (
    file_id     bigint  not null,
    ordinal     integer not null,                          -- of the check in its file, from 1
    batch       integer not null,
    cents       bigint  not null,
    received_on date,
    entry       integer not null default 0,                -- while in suspense: account 0's journal entry that holds its money
    account_id  bigint,                                    -- while one account has all of it
    micr        uuid,                                      -- keyed hashes, 8 bytes each: of routing and account; of these, check number and amount, 0 without a number. null without an account
    sole        boolean not null default false,            -- of the checks with this micr that count, the one that any other is a suspected duplicate of
    state       text    not null check (state in ('taken', 'suspense', 'held', 'refused', 'void', 'sent_back')), -- taken: its receipts tell the rest; sent_back: to who sent it
    check_no    text    not null default '',
    directed    text    not null default '',               -- the bill kind that its coupon names
    reason      text    not null default '',
    envelope    text    not null default '',               -- of its batch, '' if the bank does not say
    coupons     jsonb,                                     -- [{payer, statement, kind, cents}] as read, the check's own record first; nothing secret; null if it went where they say
    primary key (file_id, ordinal),
    check (account_id is null or state = 'taken')
);
-- That a check came before is told by its going in, and not by a look before it.
create unique index lockbox_item_sole on lockbox_item (micr) with (deduplicate_items = off) where sole;
create index lockbox_item_alike on lockbox_item (micr) where micr is not null and not sole; -- without a number, or not to be counted
create index lockbox_item_waiting on lockbox_item (file_id, ordinal) where state in ('suspense', 'held', 'refused');

-- The parts of a check that several receipts share, while they have it.
create table lockbox_share (
    file_id    bigint  not null,
    ordinal    integer not null,
    coupon     integer not null,
    account_id bigint  not null,
    cents      bigint  not null,
    directed   text    not null default '',
    primary key (file_id, ordinal, coupon)
);

-- The checks that can be known again.
create view lockbox_known as
    select file_id, ordinal, batch, state, received_on, micr, sole from lockbox_item where sole
    union all
    select file_id, ordinal, batch, state, received_on, micr, sole from lockbox_item where micr is not null and not sole;

-- What accounts have of checks. A part and its receipt (check_file, check_item,
-- check_coupon) find each other within the account.
create view lockbox_part as
    select file_id, ordinal, 1 as coupon, account_id, cents, directed from lockbox_item where account_id is not null
    union all
    select file_id, ordinal, coupon, account_id, cents, directed from lockbox_share;

-- The records of checks as they came, compressed and encrypted some hundreds at
-- a time (context lockbox_raw/<file>/<up_to>): those of the checks up to up_to.
create table lockbox_raw (
    file_id bigint  not null,
    up_to   integer not null,
    sealed  bytea   not null,
    primary key (file_id, up_to)
);
alter table lockbox_raw alter column sealed set storage external;

-- A file on its way in. Its checks are laid out some thousands at a time, each
-- with the mark how far that has come; one commit then takes all of them in.
-- Until that, a check has no batch that was accepted or refused, and counts
-- nowhere. Only one file can be on its way.
create table lockbox_staging (
    one      boolean primary key default true check (one),
    file_id  bigint  not null references lockbox_file,
    day      date    not null,
    profile  text    not null,
    as_new   boolean not null,
    up_to    integer not null,                             -- the last check laid out
    parts    integer not null default 0,                   -- of those laid out: rows of lockbox_part
    taken    integer not null default 0,
    suspense integer not null default 0,
    held     integer not null default 0,
    refused  integer not null default 0
);

-- What operators did, and why.
create table act (
    id         bigint generated always as identity primary key,
    on_date    date   not null,
    operator   text   not null,
    verb       text   not null,
    account_id bigint,
    reason     text   not null default '',
    detail     jsonb  not null default '{}'
);
create index act_check on act (((detail->>'file_id')::bigint), ((detail->>'item')::int)) where detail ? 'item';

-- Work left undone that an operator must see.
create table exception (
    account_id bigint  not null,
    on_date    date    not null,
    job        text    not null,
    code       text    not null,
    subject    text    not null default '',                -- what it is about: a cycle, a trace, a file
    detail     text    not null default '',
    cleared_on date,
    primary key (account_id, job, code, subject, on_date)
);

-- What all statements of one policy in one language have in common: the biller,
-- its texts, its logo.
create table letterhead (
    sha256 bytea primary key,                              -- of the JSON
    sealed bytea not null                                  -- compressed JSON
);

-- The sealed statement: the page's data, of which the PDF is a pure function.
create table statement (
    account_id bigint  not null,
    cycle      integer not null,
    renderer   integer not null,
    sealed     bytea   not null,                           -- compressed JSON
    delivery   text    not null,
    letterhead bytea   not null references letterhead,
    sha256     bytea,                                      -- of the PDF, once it was drawn
    accessible bytea,                                      -- of the tagged one, once somebody asked for it
    made       boolean not null default false,             -- paperless: the night has drawn it, or found it drawn, and sent word
    primary key (account_id, cycle)
);
create index statement_unmade on statement (account_id, cycle) where not made and delivery = 'paperless';

-- Statements that wait for printing, in the order in which they are bundled.
create table print_queue (
    vendor     text    not null,
    inserts    text    not null,                           -- codes joined by +
    sheets     integer not null,                           -- 1 until it has been drawn and has more
    zip        text    not null,
    account_id bigint  not null,
    cycle      integer not null,
    of_piece   bigint  not null default 0,                 -- the piece it is printed in place of, 0 for the first
    primary key (vendor, inserts, sheets, zip, account_id, cycle, of_piece)
);

-- A bundle of pieces for a vendor: a range of the queue, then a PDF with its
-- manifests. The files follow from the rows; their hashes are taken before they
-- appear.
create table print_bundle (
    id           bigint  primary key,
    name         text    not null unique,
    made_on      date    not null,
    vendor       text    not null,
    inserts      text    not null,
    sheets       integer not null,                         -- in each envelope
    first_piece  bigint  not null,                         -- the numbers of its pieces begin here
    room         integer not null,                         -- for so many
    from_key     text[]  not null,                         -- zip, account, cycle and piece where its range of the queue begins
    state        text    not null default 'planned' check (state in ('planned', 'sealed', 'written', 'accepted', 'rejected')),
    renderer     integer not null default 0,
    pieces       integer not null default 0,
    pages        integer not null default 0,
    pdf_sha256   bytea,
    csv_sha256   bytea,
    json_sha256  bytea,
    written_on   date,
    totals       text    not null default '',              -- the file of control totals that counts it
    answered_on  date,                                     -- the vendor's receipt
    problem      text    not null default '',              -- of the vendor's
    check ((state = 'planned') = (pdf_sha256 is null))
);
create index print_bundle_open on print_bundle (id) where state in ('planned', 'sealed');

-- A statement in an envelope.
create table print_piece (
    id         bigint  primary key,
    bundle_id  bigint  not null references print_bundle,
    place      integer not null,                           -- in its bundle, from 1
    account_id bigint  not null,
    cycle      integer not null,
    first_page integer not null,
    pages      integer not null,                           -- blank backs included
    zip        text    not null,
    tracking   text    not null,                           -- the barcode's 20 digits; '' for none
    sha256     bytea   not null,                           -- of the statement as it was sealed
    of_piece   bigint  not null default 0,
    state      text    not null default 'made' check (state in ('made', 'mailed', 'spoiled', 'returned')), -- as the vendor says
    state_on   date
);
create unique index print_piece_statement on print_piece (account_id, cycle, of_piece);
create unique index print_piece_place on print_piece (bundle_id, place);

-- Statements that are not printed although they are not paperless, and why.
create table print_suppressed (
    account_id bigint  not null,
    cycle      integer not null,
    reason     text    not null,                           -- address_does_not_fit, letters_cannot_be_shown, too_many_sheets, cannot_be_drawn
    on_date    date    not null,
    detail     text    not null,
    primary key (account_id, cycle)
);

-- The vendor's answers, by content.
create table print_answer (
    sha256   bytea   primary key,
    name     text    not null,
    taken_on date    not null,
    rows     integer not null
);

create table policy_seen (
    sha256  bytea primary key,
    policy  jsonb not null,
    seen_on date  not null
);

-- Input files taken, by content.
create table feed_file (
    sha256   bytea   primary key,
    feed     text    not null,
    name     text    not null,
    taken_on date    not null,
    rows     integer not null,
    accepted integer not null,
    cents    bigint  not null
);

-- A run is (job, business date); pass counts how often it was looked at again.
create table run (
    job      text    not null,
    day      date    not null,
    pass     integer not null default 1,
    state    text    not null check (state in ('running', 'done', 'failed', 'skipped')), -- skipped: missed, and not caught up; error says why
    selected bigint  not null default 0,
    done     bigint  not null default 0,
    skipped  jsonb   not null default '{}',
    parked   bigint  not null default 0,
    cents    bigint  not null default 0,
    done_before  bigint not null default 0,                -- of done and cents, what is of the passes before, and what of this one
    cents_before bigint not null default 0,                -- was done besides its ranges when it was broken off
    error    text    not null default '',
    began_at timestamptz,                                  -- its last pass, by the database's clock
    ended_at timestamptz,
    program  text    not null default '',                  -- the version that worked on it last,
    policy   text    not null default '',                  -- the hash of its policy,
    owner    bigint  not null default 0,                   -- and its number among the workers
    primary key (job, day)
);
-- +goose StatementBegin
create function note_run_times() returns trigger language plpgsql as $$
begin
    if new.state = 'running' then
        new.began_at := clock_timestamp();
        new.ended_at := null;
    elsif new.state in ('done', 'failed') then
        new.ended_at := clock_timestamp();
    end if;
    return new;
end $$;
-- +goose StatementEnd
create trigger run_times before insert or update of state on run for each row execute function note_run_times();
create table run_chunk (
    job       text    not null,
    day       date    not null,
    pass      integer not null,
    step      text    not null,
    from_id   bigint  not null,
    to_id     bigint  not null,
    selected  bigint  not null,
    done      bigint  not null,
    skipped   jsonb   not null default '{}',
    parked    bigint  not null,
    cents     bigint  not null,
    primary key (job, day, pass, step, from_id)
);
-- Ranges of a running step that are not done yet, and who has them in hand. A
-- range that changes hands gets a higher fence, and only who knows it can mark
-- the range as done.
create table run_lease (
    job       text    not null,
    day       date    not null,
    pass      integer not null,
    step      text    not null,
    from_id   bigint  not null,
    to_id     bigint  not null,
    since     date,                                        -- what the step goes by: the run before,
    file_id   bigint  not null,                            -- the outbox file that it fills, 0 for none,
    place     text    not null,                            -- the directory that it draws into, '' for none
    worker_id bigint,                                      -- null: in nobody's hands
    fence     integer not null default 1,
    announced boolean not null default false,              -- to the workers of other programs
    primary key (job, day, pass, step, from_id)
);
-- Programs that work on runs. One that has been silent for longer than it said
-- is taken for dead: it loses its row, its ranges and its connections.
create table worker (
    id          bigint generated always as identity primary key,
    name        text        not null,                      -- host and process
    session     text        not null,                      -- application_name of its connections
    program     text        not null,
    policy      text        not null,
    runs        date,                                      -- the business date that it works on itself, null for one that has joined to help
    joined_at   timestamptz not null default clock_timestamp(),
    alive_until timestamptz not null
);
-- Accounts that a job could not work on: one row from the first day of it to
-- the day on which the same step has worked on the account.
create table parked (
    account_id bigint  not null,
    job        text    not null,
    step       text    not null,
    day        date    not null,                           -- the first
    last_day   date    not null,
    error      text    not null,                           -- of the last
    cleared_on date,
    primary key (account_id, job, step, day)
);
create unique index parked_waiting on parked (job, step, account_id) where cleared_on is null;

-- What a job did not do for an account, and why: a row for each spell of days on
-- which it found the same. Reasons that say nothing is wrong (nothing due,
-- already cut) are counted in the run only.
create table skipped (
    account_id bigint  not null,
    job        text    not null,
    code       text    not null,
    subject    text    not null,                           -- what it is about: a cycle, a channel
    first_on   date    not null,
    last_on    date    not null,
    primary key (account_id, job, code, subject, first_on)
);

-- A file that a room puts into the outbox. Its content follows from the rows
-- that name it; the hash is taken before the file appears.
create table outbox_file (
    id         bigint generated always as identity primary key,
    folder     text    not null,                           -- card, notices, journal
    name       text    not null unique,
    made_on    date    not null,
    rows       integer not null default 0,
    sha256     bytea,                                      -- null while rows are still added
    ready_on   date,                                       -- its bytes lie there whole, under a name that nobody takes, about to get their own
    written_on date                                        -- once, as the carrier empties the outbox
);
create index outbox_file_waiting on outbox_file (folder) where written_on is null;

-- A file of the outbox on its way to a bank or a vendor (delivery/carry.go).
create table parcel (
    id           bigint generated always as identity primary key,
    folder       text    not null,                         -- of the outbox
    name         text    not null,
    sha256       bytea   not null,                         -- as it was sealed
    place        text    not null,                         -- a name of the policy's
    set_name     text    not null default '',              -- what goes together
    last         boolean not null default false,           -- goes after the others of its set
    queued_on    date    not null,
    state        text    not null default 'waiting' check (state in ('waiting', 'sending', 'naming', 'delivered', 'unknown', 'cancelled')),
    sent_as      text    not null default '',              -- its name there
    sent_sha256  bytea,                                    -- of the bytes that are sent: its own, or of its OpenPGP form
    sent_bytes   bigint  not null default 0,
    attempts     integer not null default 0,
    problem      text    not null default '',              -- why it is not delivered
    delivered_on date,
    unique (folder, name),
    check ((state = 'delivered') = (delivered_on is not null)),
    check (state not in ('naming', 'unknown') or sent_sha256 is not null)
);
create index parcel_waiting on parcel (id) where state not in ('delivered', 'cancelled');

-- A charge asked of the card gateway: (account, bill, attempt). 0 is the first.
create table card_charge (
    account_id  bigint  not null,
    cycle       integer not null,
    attempt     integer not null,
    cents       bigint  not null check (cents > 0),
    due_then    bigint  not null,                          -- what was due when it was asked
    asked_on    date    not null,
    received_on date    not null,                          -- decides lateness, if it is approved
    method_id   bigint  not null references autopay_method,
    file_id     bigint  not null references outbox_file,
    state       text    not null default 'asked' check (state in ('asked', 'approved', 'declined')),
    answered_on date,
    receipt     integer,
    retry_on    date,                                      -- when it is asked again, null for never (any more)
    gateway_name text   not null default '',              -- of the charge at a gateway that is asked directly, known before it is collected
    sent_on     date,                                     -- its collecting may have begun
    code        text    not null default '',              -- why the gateway declined, in its word
    primary key (account_id, cycle, attempt),
    check (cents <= due_then),
    check (sent_on is null or gateway_name <> ''),
    check ((state = 'asked') = (answered_on is null)),
    check ((state = 'approved') = (receipt is not null)),
    check (retry_on is null or state = 'declined')
);
create unique index card_charge_asked on card_charge (account_id) where state = 'asked';
create unique index card_charge_gateway on card_charge (gateway_name) where gateway_name <> '';
create index card_charge_retry on card_charge (retry_on) where retry_on is not null;
create index card_charge_file on card_charge (file_id);
create index autopay_method_card on autopay_method (account_id) where method = 'card' and ended_on is null;

-- A message to a guarantor, sealed as it goes out: once per bill, kind and
-- channel. It holds nothing about health.
create table message (
    account_id bigint  not null,
    cycle      integer not null,
    kind       text    not null,                           -- statement, reminder
    channel    text    not null check (channel in ('text', 'email')),
    queued_on  date    not null,
    file_id    bigint  not null,
    address    text    not null,                           -- telephone number or e-mail address, as of then
    language   text    not null,
    subject    text    not null,                           -- '' for a text
    body       text    not null,
    primary key (account_id, cycle, kind, channel)
);
create index message_queued on message using brin (queued_on);

-- Who wants no messages on a channel. The acts keep who said so, and when.
create table preference (
    account_id   bigint not null,
    channel      text   not null check (channel in ('text', 'email')),
    opted_out_on date   not null,
    primary key (account_id, channel)
);

-- Addresses from which messages came back. Nothing more is sent there, and a
-- paperless member whose e-mail address is among them gets paper.
create table bounced (
    account_id bigint not null,
    channel    text   not null check (channel in ('text', 'email')),
    address    text   not null,
    on_date    date   not null,                            -- as the carrier says
    known_on   date   not null,                            -- the business date that heard of it
    reason     text   not null,
    primary key (account_id, channel, address)
);

-- Accounts whose statements are tagged for programs that read aloud.
create table reads_aloud (
    account_id bigint primary key,
    since      date   not null
);

-- A period in which a member is covered by a plan on one set of terms. Its
-- premiums are items of origin coverage: for_doc = no, for_cycle = the month.
create table coverage (
    account_id    bigint  not null,
    no            integer not null,
    mrn           text    not null references member,
    plan          text    not null,
    start_on      date    not null,
    end_on        date    check (end_on >= start_on - 1),   -- last day covered; the day before start_on: it never took effect
    said_end      date,                                    -- end_on as enrolment told it
    monthly_cents bigint  not null check (monthly_cents >= 0), -- 0: premiums come from the charge feed
    aptc_cents    bigint  not null check (aptc_cents >= 0), -- advance premium tax credit
    paid_through  date,                                    -- charged and paid before the account was kept here
    charged_to    integer not null,                        -- the months up to this one are charged
    lapsed_on     date,                                    -- the run that ended it after its grace
    open          boolean not null,                        -- a cut may still charge it
    primary key (account_id, no)
);
create unique index coverage_period on coverage (mrn, plan, start_on);
create index coverage_aptc on coverage (account_id) where aptc_cents > 0 and lapsed_on is null;
create index coverage_lapsed on coverage (account_id) where lapsed_on is not null;

-- A payment plan. Its deferred items and installments have for_doc = no.
create table plan (
    account_id   bigint  not null,
    no           integer not null,
    kind         text    not null check (kind in ('premium', 'medical')),
    cents        bigint  not null check (cents > 0),
    installments integer not null check (installments > 0),
    billed       integer not null check (billed between 0 and installments),
    made_on      date    not null,
    state        text    not null check (state in ('running', 'kept', 'broken', 'cancelled')),
    ended_on     date,
    primary key (account_id, no),
    check ((state = 'running') = (ended_on is null))
);

-- Credit flagged as dormant: once for each part of a receipt's credit.
create table dormant (
    account_id bigint  not null,
    receipt    integer not null,
    arose_on   date    not null,
    cents      bigint  not null check (cents > 0),
    flagged_on date    not null,
    primary key (account_id, receipt, arose_on)
);

-- Letters to be printed and mailed.
create table letter (
    account_id bigint  not null,
    kind       text    not null,                           -- dormant_credit
    queued_on  date    not null,
    cents      bigint  not null,
    sent_on    date,
    primary key (account_id, kind, queued_on)
);

-- +goose Down
select 1/0; -- there is no way back: restore a backup
