# Makes the role that the service connects as; docker-compose.yml gives this to a new PostgreSQL. What the role may do,
# whoever migrates grants: it owns nothing, so it can neither change tables nor delete lines of the ledger.
psql --quiet --set=ON_ERROR_STOP=1 --set=password="$APPLICATION_PASSWORD" \
  --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" << 'SQL'
CREATE ROLE cortex_app LOGIN PASSWORD :'password';
SQL
