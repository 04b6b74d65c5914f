-- What the ERP itself holds true: keys, references, checks and triggers, made after the rows are in.

ALTER TABLE "CUSTPF" ADD PRIMARY KEY ("CUNUM");
ALTER TABLE "ARTIPF" ADD PRIMARY KEY ("ARREF");
ALTER TABLE "DEPOPF" ADD PRIMARY KEY ("DECOD");
ALTER TABLE "ORDRPF" ADD PRIMARY KEY ("ORNUM");
ALTER TABLE "ORLNPF" ADD PRIMARY KEY ("OLORD", "OLLIN");
ALTER TABLE "STOKPF" ADD PRIMARY KEY ("STDEP", "START");
ALTER TABLE "INVCPF" ADD PRIMARY KEY ("INNUM");
ALTER TABLE "Détail Règlement" ADD PRIMARY KEY ("order", "group");

CREATE INDEX "ORDRLF1" ON "ORDRPF" ("ORCUS");
CREATE INDEX "ORDRLF2" ON "ORDRPF" ("ORSTS") WHERE "ORSTS" IN ('S', 'V');
CREATE INDEX "ORLNLF1" ON "ORLNPF" ("OLART");
CREATE UNIQUE INDEX "INVCLF1" ON "INVCPF" ("INORD");

ALTER TABLE "ORDRPF"
    ADD CONSTRAINT "ORDRFK1" FOREIGN KEY ("ORCUS") REFERENCES "CUSTPF",
    ADD CONSTRAINT "ORDRFK2" FOREIGN KEY ("ORDEP") REFERENCES "DEPOPF",
    ADD CONSTRAINT "ORDRCK1" CHECK ("ORSTS" IN ('S', 'V', 'L', 'F', 'A'));
ALTER TABLE "ORLNPF"
    ADD CONSTRAINT "ORLNFK1" FOREIGN KEY ("OLORD") REFERENCES "ORDRPF",
    ADD CONSTRAINT "ORLNFK2" FOREIGN KEY ("OLART") REFERENCES "ARTIPF",
    ADD CONSTRAINT "ORLNCK1" CHECK ("OLQTY" > 0),
    ADD CONSTRAINT "ORLNCK2" CHECK ("OLREM" BETWEEN 0 AND 100);
ALTER TABLE "STOKPF"
    ADD CONSTRAINT "STOKFK1" FOREIGN KEY ("STDEP") REFERENCES "DEPOPF",
    ADD CONSTRAINT "STOKFK2" FOREIGN KEY ("START") REFERENCES "ARTIPF",
    ADD CONSTRAINT "STOKCK1" CHECK ("STQTY" >= 0);
ALTER TABLE "INVCPF"
    ADD CONSTRAINT "INVCFK1" FOREIGN KEY ("INORD") REFERENCES "ORDRPF",
    ADD CONSTRAINT "INVCCK1" CHECK ("INPAI" BETWEEN 0 AND "INAMT");
ALTER TABLE "CUSTPF"
    ADD CONSTRAINT "CUSTCK1" CHECK ("CUSTS" IN ('A', 'B', 'F')),
    ADD CONSTRAINT "CUSTCK2" CHECK ("CULIM" >= 0);
ALTER TABLE "Détail Règlement"
    ADD CONSTRAINT "règlement commande" FOREIGN KEY ("order") REFERENCES "ORDRPF";

-- ORL010: the lines of an order that left the warehouse, or was cancelled, no longer change.
CREATE FUNCTION "ORL010"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    commande integer := CASE TG_OP WHEN 'DELETE' THEN OLD."OLORD" ELSE NEW."OLORD" END;
    statut char(1);
BEGIN
    SELECT "ORSTS" INTO statut FROM "ORDRPF" WHERE "ORNUM" = commande;
    IF statut NOT IN ('S', 'V') THEN
        RAISE EXCEPTION 'ORL010 : la commande % est %, ses lignes ne changent plus.', commande,
            CASE statut WHEN 'L' THEN 'livrée' WHEN 'F' THEN 'facturée' ELSE 'annulée' END
            USING ERRCODE = 'check_violation', TABLE = 'ORLNPF';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD."OLORD" <> NEW."OLORD" THEN
        RAISE EXCEPTION 'ORL011 : une ligne ne passe pas d''une commande à une autre.'
            USING ERRCODE = 'check_violation', TABLE = 'ORLNPF';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER "ORL010" BEFORE INSERT OR UPDATE OR DELETE ON "ORLNPF"
    FOR EACH ROW EXECUTE FUNCTION "ORL010"();

-- ORL020: the amount of an order is the sum of its lines, whoever writes them.
CREATE FUNCTION "ORL020"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    commande integer := CASE TG_OP WHEN 'DELETE' THEN OLD."OLORD" ELSE NEW."OLORD" END;
BEGIN
    UPDATE "ORDRPF"
    SET "ORAMT" = (SELECT coalesce(sum("OLAMT"), 0) FROM "ORLNPF" WHERE "OLORD" = commande)
    WHERE "ORNUM" = commande;
    RETURN NULL;
END
$$;
CREATE TRIGGER "ORL020" AFTER INSERT OR UPDATE OR DELETE ON "ORLNPF"
    FOR EACH ROW EXECUTE FUNCTION "ORL020"();

-- ORD010: no new order for a client who is blocked or closed; a status goes forward only; shipping needs lines.
CREATE FUNCTION "ORD010"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    client char(1);
BEGIN
    IF TG_OP = 'INSERT' OR NEW."ORCUS" <> OLD."ORCUS" THEN
        SELECT "CUSTS" INTO client FROM "CUSTPF" WHERE "CUNUM" = NEW."ORCUS";
        IF client <> 'A' THEN
            RAISE EXCEPTION 'ORD010 : le client % est %, pas de nouvelle commande.', trim(NEW."ORCUS"),
                CASE client WHEN 'B' THEN 'bloqué' ELSE 'fermé' END
                USING ERRCODE = 'check_violation', TABLE = 'ORDRPF';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW."ORSTS" <> OLD."ORSTS"
        AND OLD."ORSTS" || NEW."ORSTS" NOT IN ('SV', 'SA', 'VS', 'VL', 'VA', 'LF') THEN
        RAISE EXCEPTION 'ORD020 : la commande % ne passe pas de % à %.', NEW."ORNUM", OLD."ORSTS", NEW."ORSTS"
            USING ERRCODE = 'check_violation', TABLE = 'ORDRPF';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW."ORSTS" = 'L' AND OLD."ORSTS" <> 'L'
        AND NOT EXISTS (SELECT FROM "ORLNPF" WHERE "OLORD" = NEW."ORNUM") THEN
        RAISE EXCEPTION 'ORD030 : la commande % n''a pas de ligne à livrer.', NEW."ORNUM"
            USING ERRCODE = 'check_violation', TABLE = 'ORDRPF';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER "ORD010" BEFORE INSERT OR UPDATE ON "ORDRPF"
    FOR EACH ROW EXECUTE FUNCTION "ORD010"();

-- ORD090: each new status is told to the journal.
CREATE FUNCTION "ORD090"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO "JRNLPF"
    VALUES (
        to_char(now(), 'YYYYMMDD')::integer - 19000000,
        to_char(now(), 'HH24MISS')::integer,
        left(upper(session_user), 10),
        'ORD090',
        'Commande ' || NEW."ORNUM" || ' : statut ' || OLD."ORSTS" || ' -> ' || NEW."ORSTS"
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER "ORD090" AFTER UPDATE OF "ORSTS" ON "ORDRPF"
    FOR EACH ROW WHEN (OLD."ORSTS" <> NEW."ORSTS") EXECUTE FUNCTION "ORD090"();
