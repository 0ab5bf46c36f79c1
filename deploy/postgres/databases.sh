#!/usr/bin/env bash
# Run once, by the image postgres, when its volume is empty: a database for each of the two servers,
# each with a user of its own who sees nothing of the other's.
set -euo pipefail
for name in minidl mlflow; do
    variable=${name^^}_DB_PASSWORD
    psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        -v name="$name" -v password="${!variable:?is not set}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
