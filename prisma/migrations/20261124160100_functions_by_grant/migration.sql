-- PostgreSQL lets everybody run a new function, and a REVOKE within one schema cannot take away what the global default gives.
-- From here on a function is for whom its migration names and nobody else. Each that a door needs has its grant already;
-- trigger functions need none.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
