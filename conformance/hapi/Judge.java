import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirDefaultPolicyAdvisor;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.context.IWorkerContext;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.model.StructureDefinition;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.utilities.npm.NpmPackage;

/**
 * What HAPI's validator says of each resource of a file: Judge RELEASE PACKAGE|- IN OUT THREADS.
 *
 * One JSON object per line. In: id, text (the resource, JSON or XML). Out, in the same order: id, rejects, messages.
 */
public class Judge {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static final Pattern LITERAL = Pattern.compile("(?:\\S+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/\\S+)?");

  public static void main(String[] arguments) throws Exception {
    FhirContext context = arguments[0].equals("R5") ? FhirContext.forR5() : FhirContext.forR4();
    FhirValidator validator = validator(context, arguments[1]);
    List<Callable<String>> tasks = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(arguments[2]))) {
      tasks.add(() -> judged(validator, line));
    }
    var pool = Executors.newFixedThreadPool(Integer.parseInt(arguments[4]));
    try (var out = Files.newBufferedWriter(Path.of(arguments[3]))) {
      for (Future<String> told : pool.invokeAll(tasks)) {
        out.write(told.get() + "\n");
      }
    } finally {
      pool.shutdown();
    }
  }

  static FhirValidator validator(FhirContext context, String packageFile) throws Exception {
    PrePopulatedValidationSupport own = new PrePopulatedValidationSupport(context);
    if (!packageFile.equals("-")) {
      try (var file = Files.newInputStream(Path.of(packageFile))) {
        NpmPackage loaded = NpmPackage.fromPackage(file);
        for (String name : loaded.listResources("StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter", "ConceptMap")) {
          String text = new String(loaded.loadResource(name).readAllBytes(), StandardCharsets.UTF_8);
          own.addResource(context.newJsonParser().parseResource(text));
        }
      }
    }
    UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
    unknown.setNonExistentCodeSystemSeverity(IssueSeverity.WARNING);
    FhirInstanceValidator instances = new FhirInstanceValidator(new ValidationSupportChain(
        own,
        new DefaultProfileValidationSupport(context),
        new InMemoryTerminologyServerValidationSupport(context),
        new CommonCodeSystemsTerminologyService(context),
        new SnapshotGeneratingValidationSupport(context),
        unknown));
    instances.setValidatorPolicyAdvisor(new FhirDefaultPolicyAdvisor() {
      @Override
      public ReferenceValidationPolicy policyForReference(
          IResourceValidator validator, Object host, String path, String url, ReferenceDestinationType kind) {
        return ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS;
      }
    });
    instances.setValidatorResourceFetcher((IValidatorResourceFetcher) Proxy.newProxyInstance(
        Judge.class.getClassLoader(), new Class<?>[] {IValidatorResourceFetcher.class}, Judge::elsewhere));
    FhirValidator validator = context.newValidator();
    validator.registerValidatorModule(instances);
    return validator;
  }

  /** What lies outside a resource is as it is called: {@code Patient/1} is a Patient, of which no more is known. */
  private static Object elsewhere(Object self, Method asked, Object[] given) {
    if (asked.getName().equals("fetch")) {
      Matcher literal = LITERAL.matcher((String) given[2]);
      IWorkerContext known = ((IResourceValidator) given[0]).getContext();
      StructureDefinition type = literal.matches() ? known.fetchTypeDefinition(literal.group(1)) : null;
      return type == null ? null : Manager.build(known, type);
    }
    return asked.getReturnType() == boolean.class ? (Object) asked.getName().equals("resolveURL") : null;
  }

  private static String judged(FhirValidator validator, String line) throws Exception {
    var given = JSON.readTree(line);
    ObjectNode told = JSON.createObjectNode();
    told.put("id", given.get("id").asText());
    boolean rejects = false;
    ArrayNode messages = JSON.createArrayNode();
    try {
      for (SingleValidationMessage each : validator.validateWithResult(given.get("text").asText()).getMessages()) {
        boolean error = each.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal();
        rejects |= error;
        messages.addObject()
            .put("severity", each.getSeverity().getCode())
            .put("messageId", each.getMessageId())
            .put("where", each.getLocationString())
            .put("text", each.getMessage());
      }
    } catch (RuntimeException refused) { // what it cannot even parse
      rejects = true;
      messages.addObject().put("severity", "fatal").put("messageId", "exception").put("text", String.valueOf(refused.getMessage()));
    }
    told.put("rejects", rejects);
    told.set("messages", messages);
    return JSON.writeValueAsString(told);
  }
}
