"""SASL (RFC 4422) as a server speaks it, for every protocol that logs people in. It opens no connection and no store.

`exchange` turns what a client sends into claims, `login` has them judged by whom it is handed.
"""

from posthorn_sasl.exchange import Exchange, Terms, offered
from posthorn_sasl.login import Accounts, Login
from posthorn_sasl.problems import Problem, SaslProblem
from posthorn_sasl.steps import Challenge
from posthorn_sasl.verifiers import Verifier

__all__ = ["Accounts", "Challenge", "Exchange", "Login", "Problem", "SaslProblem", "Terms", "Verifier", "offered"]
