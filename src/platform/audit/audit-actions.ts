/** Every security event that is recorded or logged, by its name. Names are API: they are never given another meaning. */
export const auditActions = {
  'user.registered': 'An account was made.',
  'user.sign_up_attempt': 'Somebody tried to sign up with the address of the account.',
  'user.login': 'A log-in opened a session.',
  'user.login_failed': 'A log-in was refused. In the process log only.',
  'credentials.refused': 'A request showed a wrong access token or API key. In the process log only.',
  'email.verified': 'The e-mail address was proven.',
  'email.changed': 'The account has another e-mail address.',
  'password.changed': 'The password was changed by its owner.',
  'password.reset': 'The password was set by a mailed token.',
  'refresh.reuse': 'A refresh token was used twice; its session ended.',
  'session.ended': 'A session ended by log-out or by its owner.',
  'sessions.ended_all': 'All sessions of the account ended.',
  'key.created': 'An API key was made.',
  'key.changed': 'An API key was given other settings.',
  'key.rotated': 'An API key was given a new secret.',
  'key.version_ended': 'An old secret of an API key was ended before its time.',
  'key.deactivated': 'An API key was ended.',
  'tier.changed': 'An admin set the tier, or gave it back to billing.',
  'tier.billed': 'Billing gave the account another tier.',
  'role.changed': 'The account has another role.',
  'user.suspended': 'An admin suspended the account; all its sessions ended.',
  'user.restored': 'An admin ended the suspension.',
  'user.erased': 'The account was erased, and its personal part of this log.',
} as const satisfies Record<string, string>;

export type AuditAction = keyof typeof auditActions;

export const auditActionNames = Object.keys(auditActions) as AuditAction[];
